// Which part a replica plays, and how it changes: who may speak for the VM, when the arbiter is asked, when outputs
// wait.
//
//   Claiming ──granted──▶ Solo ──backup connects──▶ Forming ──formed──▶ Leading ──peer lost──▶ Deciding ──won──▶ Solo
//   Joining ──state received──▶ Following ──peer lost──▶ Deciding ──won──▶ GoingLive ──log drained──▶ Solo
//                                                            └──lost──▶ Terminated
//
// A pure state machine: events in, actions out, no sockets, threads or clocks. Every transition, with its reason,
// stands in the one table in roles.cpp, and nothing else changes a role. docs/protocol.md argues why it is safe; the
// simulation in tests/simulation/replication tries to show that it is not.
//
// Forming, in the order that makes it safe:
//   1. The state of some stop goes to the backup; records follow it. The primary still speaks alone, outputs do not
//   wait.
//   2. The backup has the state whole. The gate closes; outputs up to stop c have left ungated.
//   3. The backup has acknowledged up to c: it now has everything that the world has seen, and the gate keeps that so.
//   4. Only now the arbiter is asked to form the pair. From here on, until an answer says otherwise, the backup may be
//      a member and may win; so whatever else happens, this replica speaks alone again only after it has won the
//      test-and-set of the new generation. A question without an answer is asked again, never guessed.
//
// The caller performs the actions of one handle() in order, before it feeds the next event.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "arbiter/register/requests.hpp"
#include "common/units.hpp"

namespace understudy::replication {

enum class Role { claiming, solo, forming, leading, joining, following, deciding, going_live, terminated };
[[nodiscard]] std::string_view name(Role role);

// --- Events -------------------------------------------------------------------------------------------------------
namespace event {

struct Started {};
// The answer to the question with this ticket. Any other ticket is stale and ignored.
struct ArbiterAnswered {
    std::uint64_t ticket = 0;
    arbiter::Outcome outcome;
};
// At the primary: a backup passed the handshake and asks for the state.
struct BackupConnected {
    ReplicaId peer;
};
// At the primary: the backup says that it has the whole state.
struct BackupReady {
    ReplicaId peer;
};
// At the primary: the gate closed as CloseGate asked; outputs of stops up to `last_ungated` left without waiting.
struct GateClosed {
    ReplicaId peer;
    StopNumber last_ungated;
};
// At the primary: the backup has every record up to `up_to`. (Acknowledgements go to the output gate as well.)
struct Acknowledged {
    ReplicaId peer;
    StopNumber up_to;
};
// At the backup: the state came in whole and is in place.
struct StateReceived {};
// At the backup: the primary says that the pair is formed. Only for display: the arbiter knows better.
struct PairFormed {};
// The connection broke, or the suspicion time passed. `why` is for the user.
struct PeerLost {
    ReplicaId peer;
    std::string why;
};
// At the backup, after DrainLog: every record received has been replayed.
struct LogDrained {};
// The guest's program ended or broke, and everything it said has left (or, at the backup, the primary said so). Has no
// effect while a decision is pending: feed it again then.
struct GuestEnded {};
// Time passes; to be fed every few milliseconds. Monotonic, any epoch.
struct Tick {
    std::chrono::nanoseconds now{0};
};

}  // namespace event

using Event = std::variant<event::Started, event::ArbiterAnswered, event::BackupConnected, event::BackupReady,
                           event::GateClosed, event::Acknowledged, event::StateReceived, event::PairFormed,
                           event::PeerLost, event::LogDrained, event::GuestEnded, event::Tick>;

// --- Actions ------------------------------------------------------------------------------------------------------
namespace action {

// Ask the arbiter and feed the answer with the same ticket. A claim is a form with expected = 0.
struct Form {
    std::uint64_t ticket = 0;
    arbiter::FormRequest request;
};
struct TestAndSet {
    std::uint64_t ticket = 0;
    arbiter::TestAndSetRequest request;
};
// The claim is granted: let the guest run. The gate is open.
struct StartGuest {};
// Welcome the peer, take the state at the next stop, send it and all records from there on. `generation` is that of the
// pair to be; both replicas know it from here on.
struct StartTransfer {
    ReplicaId peer;
    Generation generation;
};
struct RefusePeer {
    ReplicaId peer;
    std::string why;
};
// Close the output gate and feed GateClosed.
struct CloseGate {
    ReplicaId peer;
};
// Release what is held; nothing waits any more.
struct OpenGate {};
// Tell the backup that the pair is formed.
struct TellFormed {
    ReplicaId peer;
};
// Acknowledge nothing more, whatever still arrives.
struct StopAcknowledging {};
// Close the connection; nothing that it still brings counts.
struct DropPeer {
    ReplicaId peer;
};
// Replay every record received, then feed LogDrained.
struct DrainLog {};
// From now on this replica is the guest's voice with this rank.
struct Speak {
    SpeakerRank rank;
};
// End. Nothing more leaves this host for the guest.
struct Terminate {
    enum class Reason {
        claim_refused,        // the VM runs elsewhere, or nobody may claim it
        arbiter_unreachable,  // while claiming; later a replica waits instead
        transfer_incomplete,  // a backup lost its primary before it had the whole state
        never_formed,         // a backup lost its primary before the pair existed
        deposed,              // the other replica goes on
        guest_ended,
    };
    Reason reason = Reason::deposed;
    std::string explanation;  // one line
};

}  // namespace action

using Action =
    std::variant<action::Form, action::TestAndSet, action::StartGuest, action::StartTransfer, action::RefusePeer,
                 action::CloseGate, action::OpenGate, action::TellFormed, action::StopAcknowledging, action::DropPeer,
                 action::DrainLog, action::Speak, action::Terminate>;
using Actions = std::vector<Action>;

struct RoleConfig {
    VmId vm;
    ReplicaId self;
    std::chrono::nanoseconds retry_interval = std::chrono::milliseconds(50);  // after an unknown answer
    std::chrono::nanoseconds claim_deadline = std::chrono::seconds(10);
    // How long a backup goes on asking for a pair that the arbiter does not know (yet).
    std::chrono::nanoseconds unformed_deadline = std::chrono::seconds(5);
};

// --- The machine --------------------------------------------------------------------------------------------------
class RoleMachine {
  public:
    // A primary to be; feed Tick, then Started.
    [[nodiscard]] static RoleMachine claim(RoleConfig config);
    // A backup that `primary` has welcomed into `generation`.
    [[nodiscard]] static RoleMachine join(RoleConfig config, ReplicaId primary, Generation generation);

    [[nodiscard]] Actions handle(const Event& event);

    [[nodiscard]] Role role() const { return role_; }
    // The generation that this replica acts in: while forming still the old one.
    [[nodiscard]] Generation generation() const { return context_.generation; }
    [[nodiscard]] const std::optional<ReplicaId>& peer() const { return context_.peer; }
    // Whether received records may be acknowledged.
    [[nodiscard]] bool may_acknowledge() const { return role_ == Role::following; }
    // Whether the death of this host would cost nothing: the pair exists, as far as this replica knows.
    [[nodiscard]] bool is_protected() const {
        return role_ == Role::leading || (role_ == Role::following && context_.formed);
    }

    // Whether this replica is about to become another role, one that may take a backup.
    [[nodiscard]] bool is_settling() const {
        return role_ == Role::claiming || role_ == Role::deciding || role_ == Role::going_live;
    }

    // What the transitions know and change; public for the table in roles.cpp alone.
    struct Context {
        RoleConfig config;
        bool backup = false;  // began as one and has not gone live
        Generation generation;
        bool won = false;  // generation's test-and-set, by this replica
        std::optional<ReplicaId> peer;
        std::string loss;  // why the peer was lost

        // Forming.
        bool ready = false;                 // the backup has the whole state
        std::optional<StopNumber> ungated;  // the gate is closed behind this stop
        StopNumber acknowledged;
        bool asked = false;   // form may have happened
        bool formed = false;  // following: the primary said so

        // The question under way. It is asked again, unchanged, until it is answered.
        enum class Question { none, form, test_and_set };
        Question question = Question::none;
        std::uint64_t ticket = 0;  // of the newest question asked
        bool awaiting = false;     // its answer is still to come
        std::chrono::nanoseconds now{0};
        std::chrono::nanoseconds retry_at{0};
        std::optional<std::chrono::nanoseconds> claim_until;
        std::optional<std::chrono::nanoseconds> unformed_until;
    };

  private:
    RoleMachine(RoleConfig config, Role role);

    Role role_;
    Context context_;
};

// The table, a line a transition: "forming  peer_lost  [form was asked]  deciding  why". For docs and tests.
[[nodiscard]] std::string describe_transitions();

}  // namespace understudy::replication
