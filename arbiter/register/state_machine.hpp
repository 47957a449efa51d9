// The replicated state machine: the register of VMs and the sessions of its clients. The same commands in the same
// order give the same state and the same answers on every server; it knows no clock but the one in the commands.
//
// Each command is executed once, however often it is sent (dissertation §6.3). A client numbers its commands. Its
// session keeps each answer until the client says that it has it, and a repeated command gets its first answer again. A
// session ends after `kSessionIdle` without a command. That is longer than any client repeats one (`kMaxPatience`), so
// that none is executed anew because its session is gone.
//
// Not thread-safe.
#pragma once

#include <chrono>
#include <list>
#include <map>
#include <unordered_map>

#include "arbiter/register/vm_register.hpp"

namespace understudy::arbiter {

constexpr std::chrono::minutes kMaxPatience{5};
constexpr std::chrono::minutes kSessionIdle{15};
constexpr std::size_t kMaxOutstanding = 1024;  // commands of one client that it has no answer to
constexpr std::size_t kMaxSessions = 250'000;
constexpr std::size_t kMaxVms = 1'000'000;

struct ClientId {  // random, 128 bits
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    auto operator<=>(const ClientId&) const = default;
};

// The log's clock, which leaders write into the commands: the time that they saw pass while they led.
using LogClock = std::chrono::microseconds;

// One entry of the log that is for the state machine.
struct Command {
    LogClock clock{0};
    ClientId client;
    std::uint64_t sequence = 0;        // from 1
    std::uint64_t answered_below = 0;  // the client has the answers of all sequence numbers below
    VmOperation operation;

    [[nodiscard]] std::string encode() const;
    // nullopt: bytes that encode() never makes, or an operation that is not within_bounds().
    [[nodiscard]] static std::optional<Command> decode(std::string_view bytes);
    // The same of a client's request, which may be out of bounds: somebody must be able to say so.
    [[nodiscard]] static std::optional<Command> decode_request(std::string_view bytes);
};

struct Answer {  // to one command
    bool granted = false;
    Reason reason = Reason::none;
    std::optional<VmState> current;  // the VM's state after it; none: not registered, or not considered

    bool operator==(const Answer&) const = default;
};
void encode(Encoder& encoder, const Answer& answer);
[[nodiscard]] Answer decode_answer(Decoder& decoder);

struct Applied {
    Answer answer;
    bool repeated = false;  // not executed: the answer is the first one, given again
};

class StateMachine {
  public:
    Applied apply(const Command& command);

    [[nodiscard]] std::optional<VmState> read(const VmId& vm) const;
    // Up to `limit` VMs in the order of their names, from the first one after `after`.
    [[nodiscard]] std::vector<std::pair<VmId, VmState>> list(const VmId& after, std::size_t limit) const;

    // The whole state as bytes.
    [[nodiscard]] std::string snapshot() const;
    // Replaces the state; no bytes at all are the state in the beginning. False, and nothing changed, if the bytes are
    // no snapshot of this version.
    [[nodiscard]] bool restore(std::string_view bytes);

    [[nodiscard]] std::size_t vms() const { return vms_.size(); }
    [[nodiscard]] std::size_t sessions() const { return sessions_.size(); }
    [[nodiscard]] LogClock clock() const { return clock_; }

  private:
    struct Session {
        ClientId client;
        LogClock last_active{0};
        std::uint64_t answered_below = 0;
        std::map<std::uint64_t, Answer> answers;
    };
    struct HashClient {
        std::size_t operator()(const ClientId& id) const { return static_cast<std::size_t>(id.high ^ id.low); }
    };
    Session* session_of(const Command& command);
    Answer execute(const VmOperation& operation);

    LogClock clock_{0};
    std::map<VmId, VmRecord> vms_;
    std::list<Session> by_activity_;  // longest idle first
    std::unordered_map<ClientId, std::list<Session>::iterator, HashClient> sessions_;
};

}  // namespace understudy::arbiter
