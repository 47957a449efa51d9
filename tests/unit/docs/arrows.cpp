#include "tests/unit/docs/arrows.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <utility>

namespace understudy::docs {
namespace {

namespace fs = std::filesystem;

// The `code` spans of a table's cell.
std::vector<std::string> spans(const std::string& cell) {
    static const std::regex pattern("`([^`]+)`");
    std::vector<std::string> found;
    for (auto it = std::sregex_iterator(cell.begin(), cell.end(), pattern); it != std::sregex_iterator(); ++it) {
        found.push_back((*it)[1]);
    }
    return found;
}

std::string folder_of(const std::string& path) {
    return path.substr(0, path.rfind('/') + 1);
}

bool is_code(const fs::path& file) {
    static const std::set<std::string> endings = {".c", ".cpp", ".h", ".hpp", ".S"};
    return endings.contains(file.extension());
}

void read_file(const fs::path& file, const std::string& name, std::vector<Include>& includes) {
    static const std::regex pattern(R"re(^\s*#\s*include\s*(["<][^">]+[">]))re");
    std::ifstream stream(file);
    std::size_t number = 0;
    for (std::string line; std::getline(stream, line);) {
        ++number;
        if (std::smatch match; std::regex_search(line, match, pattern)) {
            includes.push_back({name, number, match[1]});
        }
    }
}

// Whether `target`, a folder or a header of the table, covers the included path.
bool covers(const Arrows& arrows, const std::string& target, const std::string& path) {
    if (!target.ends_with('/')) {
        return target == path;
    }
    const auto row = row_of(arrows, path);
    return row ? *row == target : path.starts_with(target);  // what has no row is another project's
}

}  // namespace

Rules read_rules(std::string_view architecture) {
    Rules rules;
    const auto begin = architecture.find("\n### Arrows\n");
    if (begin == std::string_view::npos) {
        return rules;
    }
    const auto section = architecture.substr(begin + 1, architecture.find("\n##", begin + 1) - begin - 1);
    std::istringstream lines{std::string(section)};
    for (std::string line; std::getline(lines, line);) {
        if (!line.starts_with("| `")) {
            continue;
        }
        const auto middle = line.find(" |", 2);
        const auto values = spans(line.substr(middle));
        for (const std::string& key : spans(line.substr(0, middle))) {
            (key.starts_with('<') ? rules.enclosures : rules.arrows)[key] = values;
        }
    }
    return rules;
}

std::vector<Include> read_includes(const fs::path& root) {
    std::vector<Include> includes;
    for (const auto& top : fs::directory_iterator(root)) {
        const std::string name = top.path().filename();
        if (!top.is_directory() || name == "tests" || name == "docs" || name.starts_with('.') ||
            name.starts_with("build")) {
            continue;
        }
        for (const auto& entry : fs::recursive_directory_iterator(top)) {
            const std::string file = fs::relative(entry.path(), root);
            if (is_code(entry.path()) && !file.starts_with("guest/linux/overlay/")) {
                read_file(entry.path(), file, includes);
            }
        }
    }
    return includes;
}

std::optional<std::string> row_of(const Arrows& arrows, std::string_view path) {
    std::optional<std::string> longest;
    for (const auto& [row, targets] : arrows) {
        if (path.starts_with(row)) {
            longest = row;  // in order: a longer one comes later
        }
    }
    return longest;
}

std::optional<std::string> objection(const Rules& rules, const Include& include) {
    const auto object = [&](const std::string& why) {
        return fmt::format("{}:{} includes {}: {}", include.file, include.line, include.what, why);
    };
    for (const auto& [header, folders] : rules.enclosures) {
        if (include.what.starts_with(header) && std::ranges::none_of(folders, [&](const std::string& folder) {
                return include.file.starts_with(folder);
            })) {
            return object(fmt::format("only {} may", fmt::join(folders, ", ")));
        }
    }
    if (!include.what.starts_with('"')) {
        return std::nullopt;
    }
    const auto row = row_of(rules.arrows, include.file);
    if (!row) {
        return object("the folder has no row in the table of docs/architecture.md");
    }
    const std::string path = include.what.substr(1, include.what.size() - 2);
    const std::string folder = folder_of(path);
    if (folder.empty()) {
        return object("an include begins at the repository's root");
    }
    const auto& targets = rules.arrows.at(*row);
    const bool allowed =
        include.file.starts_with(folder) || row_of(rules.arrows, path) == row ||
        std::ranges::any_of(targets, [&](const std::string& target) { return covers(rules.arrows, target, path); });
    return allowed ? std::nullopt
                   : std::optional(object(fmt::format("{} may include: {}", *row, fmt::join(targets, ", "))));
}

std::vector<std::string> unused_arrows(const Arrows& arrows, const std::vector<Include>& includes) {
    std::vector<std::string> unused;
    for (const auto& arrow : arrows) {
        const std::string& row = arrow.first;
        for (const std::string& target : arrow.second) {
            const bool used = std::ranges::any_of(includes, [&](const Include& include) {
                return include.what.starts_with('"') && row_of(arrows, include.file) == row &&
                       covers(arrows, target, include.what.substr(1, include.what.size() - 2));
            });
            if (!used && target != "common/") {
                unused.push_back(fmt::format("{} → {}", row, target));
            }
        }
    }
    return unused;
}

}  // namespace understudy::docs
