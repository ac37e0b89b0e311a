# What a fresh Request Tracker of the tests knows: people, organisations, queues, fields, rights, a webhook.
use strict;
use warnings;
our (@Groups, @Users, @Queues, @ACL, @Scrips, @CustomFields, @Final);

my $bot = 'links-bot';
my @customers = (
    [ 'kim@kunde.example', 'Kim Kunde', 'kimpass-123', 'de', 'Kunde GmbH' ],
    [ 'lee@kunde.example', 'Lee Kunde', 'leepass-123', 'en', 'Kunde GmbH' ],
    [ 'ada@agentur.example', 'Ada Agentur', 'adapass-123', 'de', 'Agentur AG', 'Kunde GmbH' ],
);

@Users = (
    { Name => 'agent1', EmailAddress => 'agent1@desk.example', Password => 'agentpass-1', Privileged => 1 },
    { Name => $bot, EmailAddress => 'links-bot@desk.example', Password => 'botpass-12345', Privileged => 1 },
    map {
        my ($name, $real, $password, $language, $organisation) = @$_;
        {   Name => $name, EmailAddress => $name, RealName => $real, Password => $password, Lang => $language,
            Organization => $organisation, Privileged => 0,
        }
    } @customers,
);
@Groups = map { { Domain => 'UserDefined', Name => $_ } } 'Kunde GmbH', 'Agentur AG';
@Queues = (
    { Name => 'Support', Lifecycle => 'support' },
    { Name => 'Board', Lifecycle => 'support' },    # the bot sees nothing of it
);
@CustomFields = map { { Name => $_, Type => 'FreeformSingle', Queue => 'Support' } }
    'Customer organisation', 'Package';
@ACL = (
    (   map { { UserId => $bot, Queue => 'Support', Right => $_ } }
            qw(SeeQueue ShowTicket ShowTicketComments CommentOnTicket ReplyToTicket CreateTicket
            SeeCustomField SetInitialCustomField)
    ),
    (   map {
            my $queue = $_;
            map { { UserId => 'agent1', Queue => $queue, Right => $_ } }
                qw(SeeQueue ShowTicket ShowTicketComments CommentOnTicket ReplyToTicket CreateTicket ModifyTicket
                DeleteTicket OwnTicket Watch WatchAsAdminCc SeeCustomField ModifyCustomField)
        } 'Support', 'Board'
    ),
    (   map { { GroupDomain => 'RT::Queue-Role', GroupType => 'Requestor', Queue => 'Support', Right => $_ } }
            qw(ShowTicket ReplyToTicket)
    ),
    { UserId => $bot, Right => 'ManageAuthTokens' },
);

# Where webhooks go stands in a file, so that a test can say so later: address and whsec_ secret, a line each.
open(my $scrip, '<', $ENV{TESTS_SCRIP}) or die "$ENV{TESTS_SCRIP}: $!";
my $code = join('', <$scrip>);
$code =~ s{/etc/request-tracker5/secretsvc-hook}{$ENV{TESTS_HOOK_FILE}};
@Scrips = ({
    Description => 'Tell the service of one-time links',
    Queue => 'Support',
    ScripCondition => 'On Transaction',
    ScripAction => 'User Defined',
    Template => 'Blank',
    CustomPrepareCode => 'return 1;',
    CustomCommitCode => $code,
});

@Final = (sub {
    for my $customer (@customers) {
        my ($name, undef, undef, undef, @organisations) = @$customer;
        my $user = RT::User->new(RT->SystemUser);
        $user->Load($name);
        for my $organisation (@organisations) {
            my $group = RT::Group->new(RT->SystemUser);
            $group->LoadUserDefinedGroup($organisation);
            $group->AddMember($user->PrincipalId);
        }
    }
});
1;
