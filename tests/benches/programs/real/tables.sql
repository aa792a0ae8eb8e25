-- A database in memory: rows go in, an index is built, rows are joined, grouped, changed and deleted.
-- The table `size` has one row: how many.
CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, town TEXT, age INTEGER);
CREATE TABLE visit (person INTEGER, place TEXT, note TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < (SELECT n FROM size))
INSERT INTO person SELECT i, 'person ' || (i * 7919 % 100003), 'town ' || (i % 97), i % 90 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3 * (SELECT n FROM size))
INSERT INTO visit SELECT i * 31 % (SELECT n FROM size) + 1, 'place ' || (i % 211), printf('note %d %s', i, hex(i)) FROM n;
CREATE INDEX by_town ON person (town, name);
CREATE INDEX by_person ON visit (person);
SELECT town, count(*), group_concat(substr(place, 7), ',') FROM person JOIN visit ON visit.person = person.id
GROUP BY town ORDER BY 2 DESC, 1 LIMIT 3;
SELECT count(*), sum(length(t)) FROM (SELECT upper(name) || lower(place) AS t FROM person JOIN visit ON person = id
ORDER BY t);
UPDATE person SET name = replace(name, 'person', 'human') WHERE age < 30;
DELETE FROM visit WHERE person IN (SELECT id FROM person WHERE age > 60);
SELECT count(*), count(DISTINCT note) FROM visit;
SELECT json_group_array(json_object('n', name)) IS NOT NULL FROM person;
