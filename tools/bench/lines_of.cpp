#include "tools/bench/lines_of.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <regex>
#include <string_view>

#include "common/error.hpp"

namespace understudy::tools {

std::vector<std::string> lines_of(Stage& stage, const std::vector<std::string>& command,
                                  std::chrono::milliseconds timeout) {
    std::vector<std::string> lines;
    Child child(stage.io(), {command, stage.directory().path() / "run.out", stage.directory().path() / "run.err"},
                [&](std::string_view line) { lines.emplace_back(line); });
    stage.until([&] { return !child.running(); }, timeout, command.front() + " to end");
    if (child.exit_status() != 0) {
        constexpr std::size_t kShown = 200;  // a guest's command may bring a program with it
        throw Error::format("{} ended with status {}: {}", fmt::format("{}", fmt::join(command, " ")).substr(0, kShown),
                            child.exit_status(), child.last_words());
    }
    return lines;
}

double figure_of(const std::vector<std::string>& lines, const std::string& pattern) {
    const std::regex expression(pattern);
    for (const std::string& line : lines) {
        std::smatch match;
        if (std::regex_search(line, match, expression)) {
            return std::stod(match[1]);
        }
    }
    throw Error::format("no figure: {}", fmt::join(lines, " | "));
}

}  // namespace understudy::tools
