#!/usr/bin/perl
# A new REST2 token of a user of Request Tracker, on standard output: token.pl USER
use strict;
use warnings;
use lib '/usr/share/request-tracker5/lib', '/usr/local/share/request-tracker5/lib';
use RT -init;

my $user = RT::User->new(RT->SystemUser);
$user->Load($ARGV[0]);
die "no such user\n" unless $user->Id;
my ($id, $said, $token) = RT::AuthToken->new(RT->SystemUser)->Create(Owner => $user->Id, Description => 'tests');
die "$said\n" unless $id;
print "$token\n";
