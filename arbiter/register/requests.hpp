// What can be asked of the register, and what it answers: the words that replicas, clients and servers share. Plain
// values; the rules that decide are in vm_register.hpp.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/units.hpp"

namespace understudy::arbiter {

// What the register holds for one VM: its newest generation, that generation's members, and the member that won its
// test-and-set, once one has asked. A generation without members is of a guest that has ended: nobody runs the VM.
struct VmState {
    Generation generation;
    std::vector<ReplicaId> members;
    std::optional<ReplicaId> winner;

    [[nodiscard]] bool ended() const { return members.empty(); }

    bool operator==(const VmState&) const = default;
};

// Replaces generation `expected` by `next` with `members`. Granted when the VM's generation is `expected` (0: the VM is
// not registered) and `proposer` owns it, that is, won it or is its only member. A claim registers the VM: expected =
// 0, next = 1, members = {proposer}; of a VM that has ended: expected = its generation. A granted request that is
// repeated gets the same answer.
struct FormRequest {
    VmId vm;
    Generation expected;
    Generation next;
    ReplicaId proposer;
    std::vector<ReplicaId> members;
};

// The first member of `generation` to ask wins. The winner is answered yes each time it asks, everybody else no. A
// generation that is not the newest is answered no, and so is a candidate that is not its member.
struct TestAndSetRequest {
    VmId vm;
    Generation generation;
    ReplicaId candidate;
};

// The VM's guest has ended, in its newest generation, `generation`: the VM may be claimed again. Asked by a member
// whose guest has ended and which has said all that there was to say; the winner, where there is one. Or, with no
// `replica`, by an operator who knows that none runs. A granted request that is repeated gets the same answer.
struct EndRequest {
    VmId vm;
    Generation generation;
    ReplicaId replica;
};

// What changes the register.
using VmOperation = std::variant<FormRequest, TestAndSetRequest, EndRequest>;

[[nodiscard]] inline const VmId& vm_of(const VmOperation& operation) {
    return std::visit([](const auto& request) -> const VmId& { return request.vm; }, operation);
}

// The three answers there are. `unknown`: no answer came in time. The operation may have happened, or may yet.
enum class Verdict { yes, no, unknown };

struct Outcome {
    Verdict verdict = Verdict::unknown;
    std::optional<VmState> current;  // the VM's state after the operation, where an answer arrived
    std::string explanation;         // one line for the user when the verdict is not yes
    // Verdict no: the request is none that can be considered (a name is too long, say). It is refused whatever the
    // register holds, and neither it nor an earlier copy of it has had or will have an effect.
    bool malformed = false;
};

}  // namespace understudy::arbiter
