// The arbiter in the simulated world: its own decisions (arbiter/register/), behind a network that delays, repeats and
// loses, and without a majority now and then.
#pragma once

#include <functional>
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

    World& world_;
    bool has_majority_ = true;
    std::optional<arbiter::VmRecord> record_;
};

}  // namespace understudy::replication::simulation
