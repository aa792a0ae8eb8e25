# Lines are made, split, counted in nested hashes, joined and sorted, as many times as the first argument says.
use strict;
use warnings;

my $total = 0;
for my $turn (1 .. $ARGV[0]) {
    my (%count, %lines);
    for my $i (1 .. 6000) {
        my $line = join ' ', map { 'w' . ($i * $_ * 7919 % 5003) } 1 .. 12;
        my @words = split /\s+/, $line;
        $count{substr $_, 0, 2}{$_}++ for @words;
        push @{$lines{$words[0]}}, [$i, \@words];
        (my $changed = $line) =~ s/w(\d+)/<$1>/g;
        $total += length $changed;
    }
    for my $start (sort keys %count) {
        $total += @{[sort { $count{$start}{$b} <=> $count{$start}{$a} or $a cmp $b } keys %{$count{$start}}]};
    }
    $total += scalar keys %lines;
}
print "$total\n";
