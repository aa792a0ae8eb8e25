-- Tables, strings and closures, as many times as the first argument says.
local total = 0
for turn = 1, tonumber(arg[1]) do
    local people = {}
    for i = 1, 12000 do
        local person = { name = "person " .. (i * 7919 % 100003), friends = {}, age = i % 90 }
        person.greet = function(other) return person.name .. " greets " .. other.name end
        people[i] = person
    end
    for i, person in ipairs(people) do
        for k = 1, 3 do
            person.friends[#person.friends + 1] = people[(i * k) % #people + 1]
        end
    end
    table.sort(people, function(a, b) return a.name < b.name end)
    local lines = {}
    for _, person in ipairs(people) do
        lines[#lines + 1] = person.greet(person.friends[1])
    end
    local text = table.concat(lines, "\n")
    for word in text:gmatch("%a+") do
        total = total + #word
    end
end
print(total)
