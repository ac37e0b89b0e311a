# Request Tracker: tell secretsvc that a ticket has changed, so that it looks at once and not within the hour.
#
# Make a Scrip with condition "On Transaction", action "User Defined", template "Blank", and this as its commit
# code ("return 1;" as its prepare code). The file named below holds two lines, readable by the web server alone:
# the address https://links.example.org/desk/rt/hook, and the desk's webhook secret, whsec_ and base64.
use Digest::SHA qw(hmac_sha256);
use JSON;
use LWP::UserAgent;
use MIME::Base64;
open(my $file, '<', '/etc/request-tracker5/secretsvc-hook') or return 1;
chomp(my ($url, $secret) = <$file>);
return 1 unless $secret;
my ($ticket, $change) = ($self->TicketObj, $self->TransactionObj);
my $now = RT::Date->new(RT->SystemUser);
$now->SetToNow;
my $body = JSON->new->canonical->utf8->encode({
    type => 'ticket.changed',
    timestamp => $now->W3CDTF(Timezone => 'UTC'),
    data => {
        ticket_id => $ticket->Id,
        status => $ticket->Status,
        change => $change->Type,
        field => $change->Field,
        actor => $change->CreatorObj->Name,
    },
});
my ($id, $at) = ('rt-' . $change->Id, time);
my $key = decode_base64(substr($secret, length('whsec_')));
my $signature = encode_base64(hmac_sha256("$id.$at.$body", $key), '');
my $answer = LWP::UserAgent->new(timeout => 3)->post(
    $url,
    'Content-Type' => 'application/json',
    'webhook-id' => $id,
    'webhook-timestamp' => $at,
    'webhook-signature' => "v1,$signature",
    Content => $body,
);
RT->Logger->error('webhook: ' . $answer->status_line) unless $answer->is_success;
return 1;
