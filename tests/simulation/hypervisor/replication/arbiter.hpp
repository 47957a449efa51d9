// The arbiter in the simulated world: its own decisions (arbiter/register/), behind a network that delays, repeats and
// loses, and without a majority now and then.
//
// An orderly one gives a question that arrives twice its effect once, and none to a question that was overtaken by a
// newer one of the same replica. Both engines keep that: the Raft servers number a client's requests, and what is
// written to etcd depends on what was read there before. But the client's interface promises less.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <variant>

#include "arbiter/client/client.hpp"
#include "arbiter/register/vm_register.hpp"

namespace understudy::replication::simulation {

class World;
class Replica;

class Arbiter {
  public:
    using Request = std::variant<arbiter::FormRequest, arbiter::TestAndSetRequest>;
    using Answer = std::function<void(const arbiter::Outcome&)>;

    explicit Arbiter(World& world) : world_(world) {}

    // `answer` is called once, on the replica's thread: with what was decided, or after a while with "unknown".
    void ask(Replica& replica, const Request& request, Answer answer);

    [[nodiscard]] bool has_majority() const { return has_majority_; }
    void lose_majority() { has_majority_ = false; }
    void regain_majority() { has_majority_ = true; }

    // Of the one VM there is.
    [[nodiscard]] std::optional<arbiter::VmState> state() const;

  private:
    [[nodiscard]] arbiter::Outcome decide(const Request& request);
    [[nodiscard]] std::optional<arbiter::Outcome> arrived(const Replica& replica, std::uint64_t question,
                                                          const Request& request);

    World& world_;
    bool has_majority_ = true;
    std::optional<arbiter::VmRecord> record_;
    struct Decided {
        std::uint64_t question = 0;
        arbiter::Outcome outcome;
    };
    std::map<ReplicaId, Decided> newest_;  // of each replica
    std::uint64_t asked_ = 0;
};

}  // namespace understudy::replication::simulation
