// What may include what, as docs/architecture.md lists it, and the check of a tree against it.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::docs {

// "hypervisor/machine/" and what its files may include: folders, of which each is a row of its own, or single headers.
using Arrows = std::map<std::string, std::vector<std::string>>;
// The beginning of an include ("<CLI/") and the folders in which alone it may stand.
using Enclosures = std::map<std::string, std::vector<std::string>>;

struct Rules {
    Arrows arrows;
    Enclosures enclosures;
};

// Of the section "### Arrows": its tables' rows, whose cells are lists of `code`.
[[nodiscard]] Rules read_rules(std::string_view architecture);

// One #include: who (a path from the root), and what, with its quotes or brackets.
struct Include {
    std::string file;
    std::size_t line = 0;
    std::string what;
};

// Of every C, C++ and assembly file below the root but those in tests/, docs/, hidden folders and builds.
[[nodiscard]] std::vector<Include> read_includes(const std::filesystem::path& root);

// The row that a path belongs to: the longest that it begins with.
[[nodiscard]] std::optional<std::string> row_of(const Arrows& arrows, std::string_view path);

// What is wrong with an include, in one line; nothing where it is allowed.
[[nodiscard]] std::optional<std::string> objection(const Rules& rules, const Include& include);

// "tools/bench/ → arbiter/wire/" for each arrow that no include needs; common/ is there for whoever will need it.
[[nodiscard]] std::vector<std::string> unused_arrows(const Arrows& arrows, const std::vector<Include>& includes);

}  // namespace understudy::docs
