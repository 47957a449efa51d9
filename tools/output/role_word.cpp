#include "tools/output/role_word.hpp"

#include <algorithm>
#include <array>
#include <cctype>

namespace understudy::tools {

using replication::Role;

std::string role_word(Role role) {
    std::string word(replication::name(role));
    std::ranges::transform(word, word.begin(),
                           [](unsigned char c) { return c == ' ' ? '_' : static_cast<char>(std::tolower(c)); });
    return word;
}

std::optional<Role> parse_role(std::string_view word) {
    constexpr std::array kRoles = {Role::claiming,  Role::solo,     Role::forming,    Role::leading,   Role::joining,
                                   Role::following, Role::deciding, Role::going_live, Role::terminated};
    const auto* const found = std::ranges::find(kRoles, word, role_word);
    return found == kRoles.end() ? std::nullopt : std::optional(*found);
}

}  // namespace understudy::tools
