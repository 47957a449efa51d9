// Is a history of one VM's operations linearizable? Each must seem to happen at one moment between its call and its
// answer, in an order in which the register's rules (vm_register.hpp) give exactly the answers that were given. An
// operation without an answer may have happened at any time after its call, or never.
//
// The search of J. Wing and C. Gong, "Testing and Verifying Concurrent Objects" (1993), with memory of visited states
// (G. Lowe, 2017).
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "arbiter/register/state_machine.hpp"

namespace understudy::arbiter::simulation {

struct ReadOperation {
    VmId vm;
};

struct Operation {
    std::int64_t called = 0;
    std::optional<std::int64_t> answered;
    std::variant<VmOperation, ReadOperation> request;
    Answer answer;  // of a read: `current` alone counts
};

constexpr std::size_t kMaxOperations = 64;  // in one history

// Empty: it is. Otherwise the history as text.
[[nodiscard]] std::string not_linearizable(const std::vector<Operation>& history);

[[nodiscard]] std::string describe(const Operation& operation);
[[nodiscard]] const VmId& vm_of(const Operation& operation);

}  // namespace understudy::arbiter::simulation
