#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# Reads the lines that httpd writes in the container and prints a JSON object for each: log messages of the module, which are
# JSON already, the lines of ErrorLogFormat and LogFormat in httpd.conf, and whatever else there is. Ends when its input does.
use strict;
use warnings;
use POSIX qw(strftime);

# Signals to the whole container are httpd's: its last lines come after them.
$SIG{$_} = 'IGNORE' for qw(INT TERM QUIT HUP USR1 WINCH);
$| = 1;

my %escape = ("\n" => '\n', "\t" => '\t', '"' => '\"', '\\' => '\\\\');

sub text {
    my $text = shift;
    utf8::decode($text) or $text =~ s/[\x80-\xff]/\x{fffd}/g;
    $text =~ s{([\x00-\x1f\x7f"\\])}{$escape{$1} // sprintf '\u%04x', ord $1}ge;
    utf8::encode($text);
    return qq("$text");
}

# httpd puts a backslash before quotes and backslashes; \xHH stands for a byte that is no printable ASCII, and stays.
sub plain { return $_[0] =~ s/\\(["\\])/$1/gr }

# The members in this order; those that have no value, which httpd shows as -, are left out.
sub object {
    my @members;
    while (my ($name, $value) = splice @_, 0, 2) {
        next if !defined $value || $value eq '-' || $value eq '';
        push @members, "\"$name\":" . ($name =~ /^(pid|http_status|bytes|latency_ms)$/ && $value =~ /^\d+$/ ? $value : text($value));
    }
    return '{' . join(',', @members) . '}';
}

while (my $line = <STDIN>) {
    chomp $line;
    if ($line =~ /^\{.*\}$/) {
        print "$line\n";
    } elsif (my ($day, $time, $level, $pid, $module, $client, $message) = $line =~ /^httpd (\S+) (\S+) (\S+) (\S+) (\S+) (\S+) (.*)$/) {
        print object(time => "${day}T${time}Z", level => $level, pid => $pid, module => $module, client => $client,
                     message => plain($message)), "\n";
    } elsif ($line =~ /^access\t/) {
        my (undef, $when, $process, $from, $method, $path, $status, $bytes, $micro, $run, $agent) = split /\t/, $line;
        print object(time => ($when =~ s/ /T/r) . 'Z', level => 'info', pid => $process, client => $from, method => plain($method),
                     path => plain($path), http_status => $status, bytes => $bytes, latency_ms => int($micro / 1000), run => $run,
                     agent => $agent), "\n";
    } elsif ($line ne '') {
        print object(time => strftime('%Y-%m-%dT%H:%M:%SZ', gmtime), level => 'error', message => $line), "\n";
    }
}
