# Groups, changes and prints again what the input has.
def title: "\(.town)-\(.name | ascii_upcase)";
map(. + {title: title, tags: (.tags | map(ltrimstr("t")) | sort)})
| group_by(.town)
| map({town: .[0].town, people: map(del(.town)) | sort_by(.name), average: (map(.age) | add / length)})
| (map(.people | length) | add), (tojson | length), (map({(.town): .average}) | add | length)
