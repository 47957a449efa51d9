// A replica's role as events spell it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "hypervisor/replication/decision/roles.hpp"

namespace understudy::tools {

// The role's name as one lower-case word: "going_live".
[[nodiscard]] std::string role_word(replication::Role role);

// Nothing for what is no role's word.
[[nodiscard]] std::optional<replication::Role> parse_role(std::string_view word);

}  // namespace understudy::tools
