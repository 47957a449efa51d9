#include "tests/simulation/hypervisor/replication/scenarios.hpp"

#include "tests/simulation/hypervisor/replication/stage.hpp"

namespace understudy::replication::simulation {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::size_t kTowardsPrimary = 0;
constexpr std::size_t kTowardsBackup = 1;

struct Pair {
    Replica& primary;
    Replica& backup;
};

// P1 leads, B2 follows; the story begins behind that.
Pair formed_pair(Stage& stage) {
    Replica& primary = stage.world().start_primary();
    stage.pass(milliseconds(10));
    Replica& backup = stage.world().start_backup(primary);
    stage.pass(milliseconds(90));
    stage.begin_here();
    return {primary, backup};
}

// --- Without faults -------------------------------------------------------------------------------------------------

void claim(Stage& stage) {
    stage.pace().lose_next_answer();
    Replica& first = stage.world().start_primary();
    stage.pass(milliseconds(250));
    stage.world().start_primary();
    stage.pass(milliseconds(10));
    stage.request(first);
    stage.pass(milliseconds(10));
}

void forming(Stage& stage) {
    Replica& primary = stage.world().start_primary();
    stage.pass(milliseconds(10));
    stage.begin_here();
    stage.world().start_backup(primary);
    stage.pass(milliseconds(10));
    stage.request(primary);
    stage.pass(milliseconds(5));
    stage.world().start_backup(primary);
    stage.pass(milliseconds(25));
    stage.request(primary);
    stage.pass(milliseconds(10));
}

void guest_ends(Stage& stage) {
    const Pair pair = formed_pair(stage);
    stage.request(pair.primary);
    stage.pass(milliseconds(30));
}

// --- A replica is lost ----------------------------------------------------------------------------------------------

void failover(Stage& stage) {
    const Pair pair = formed_pair(stage);
    stage.request(pair.primary);
    stage.pass(milliseconds(1));
    stage.world().kill(pair.primary, false);
    stage.pass(milliseconds(20));
    stage.request(pair.backup);
    stage.pass(milliseconds(10));
}

void host_dies(Stage& stage) {
    const Pair pair = formed_pair(stage);
    stage.request(pair.primary);
    stage.pass(microseconds(2500));
    stage.world().kill(pair.primary, true);
    stage.pass(milliseconds(130));
}

void backup_dies(Stage& stage) {
    const Pair pair = formed_pair(stage);
    stage.world().kill(pair.backup, true);
    stage.pass(milliseconds(50));
    stage.request(pair.primary);
    stage.pass(milliseconds(80));
}

void undecided_form(Stage& stage) {
    Replica& primary = stage.world().start_primary();
    stage.pass(milliseconds(10));
    Replica& backup = stage.world().start_backup(primary);
    stage.pass(milliseconds(21));
    stage.begin_here();
    stage.pace().lose_next_answer();
    stage.pass(milliseconds(19));
    stage.world().kill(backup, false);
    stage.pass(milliseconds(5));
    stage.request(primary);
    stage.pass(milliseconds(300));
}

void no_majority(Stage& stage) {
    const Pair pair = formed_pair(stage);
    stage.world().lose_arbiter();
    stage.request(pair.primary);
    stage.pass(milliseconds(10));
    stage.world().kill(pair.primary, false);
    stage.pass(milliseconds(500));
    stage.world().regain_arbiter();
    stage.pass(milliseconds(250));
}

// --- Both live, and do not hear each other --------------------------------------------------------------------------

void cut(Stage& stage) {
    const Pair pair = formed_pair(stage);
    const auto link = stage.link();
    stage.world().cut(link, kTowardsPrimary);
    stage.world().cut(link, kTowardsBackup);
    stage.pass(milliseconds(20));
    stage.request(pair.primary);
    stage.pass(milliseconds(130));
    stage.world().mend(link, kTowardsPrimary);
    stage.world().mend(link, kTowardsBackup);
    stage.pass(milliseconds(20));
}

void cut_one_way(Stage& stage) {
    const Pair pair = formed_pair(stage);
    const auto link = stage.link();
    stage.world().cut(link, kTowardsBackup);
    stage.pass(milliseconds(20));
    stage.request(pair.primary);
    stage.pass(milliseconds(110));
    stage.request(pair.backup);
    stage.pass(milliseconds(20));
}

void stopped_primary(Stage& stage) {
    const Pair pair = formed_pair(stage);
    stage.request(pair.primary);
    stage.pass(milliseconds(1));
    stage.world().stop(pair.primary);
    stage.pass(milliseconds(200));
    stage.world().resume(pair.primary);
    stage.pass(milliseconds(20));
}

}  // namespace

const std::vector<Scenario>& scenarios() {
    static const std::vector<Scenario> all = {
        {"claim",
         "A primary claims its VM before the guest runs. The first answer is lost: it asks again, and gets the same "
         "one.\n"
         "Another primary of the same VM is refused. Alone, P1 lets its guest's words leave at once.",
         claim},
        {"forming",
         "A backup joins. While the state travels the primary speaks alone and nothing waits; another backup is "
         "refused.\n"
         "With the state in place the gate closes, what left before is acknowledged, and only then the arbiter forms\n"
         "the pair. From there on every output waits for its acknowledgement.",
         forming},
        {"guest_ends",
         "The guest says its last words and ends. They wait for their acknowledgement like any output; then the "
         "primary\n"
         "says goodbye, and the backup ends without a question to the arbiter.",
         guest_ends, StopNumber{3}},
        {"failover",
         "The primary's process is killed while an output waits for its acknowledgement. The backup hears the "
         "connection\n"
         "close, wins, replays what it received, says what may not have left, and goes on.",
         failover},
        {"host_dies",
         "The primary's host dies just after an output left, before it could report that. The backup hears nothing,\n"
         "suspects, wins, and says the output again: it cannot know.",
         host_dies},
        {"backup_dies",
         "The backup's host dies. What the guest says meanwhile is held; when the primary has won it leaves.",
         backup_dies},
        {"undecided_form",
         "The backup is killed while the arbiter's answer to form is lost. It may be a member and may have won: so "
         "the\n"
         "primary, its gate closed, asks for form until it is answered, and then must win like anybody.",
         undecided_form},
        {"no_majority",
         "The primary is killed while the arbiter has no majority. The backup asks until there is one: nobody goes on\n"
         "without.",
         no_majority},
        {"cut",
         "The connection is cut and both replicas live. Both suspect, both ask, one wins and one is deposed. What was "
         "said\n"
         "during the cut left nobody's host before that was settled.",
         cut},
        {"cut_one_way",
         "Nothing reaches the backup, but the primary hears it. The backup suspects and wins; the primary learns of it "
         "by\n"
         "the connection's end, and is deposed with what it held.",
         cut_one_way},
        {"stopped_primary",
         "The primary's process is stopped with an output that waits; the acknowledgement comes while it is stopped, "
         "and\n"
         "the backup takes over. When the primary continues it has been deposed, and does not say what was "
         "acknowledged\n"
         "before: it would come too late.",
         stopped_primary},
    };
    return all;
}

Telling tell(const Scenario& scenario) {
    Setting setting;
    setting.guest_ends_at = scenario.guest_ends_at;
    Stage stage(setting);
    scenario.play(stage);
    return {stage.world().trace().take(), stage.world().violation()};
}

}  // namespace understudy::replication::simulation
