// The protocol's stories (scenarios.hpp) come out as the files in traces/ tell them.
//
//   UNDERSTUDY_REWRITE_TRACES=1   writes the files instead; read what changed before it is committed
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/simulation/hypervisor/replication/scenarios.hpp"

namespace understudy::replication::simulation {
namespace {

namespace fs = std::filesystem;
using Lines = std::vector<std::string>;

const fs::path kFolder = fs::path(UNDERSTUDY_SOURCE_DIR) / "tests/simulation/hypervisor/replication/traces";

Lines split(const std::string& text) {
    Lines lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) {
        lines.push_back(line);
    }
    return lines;
}

Lines read(const fs::path& file) {
    std::ostringstream text;
    text << std::ifstream(file).rdbuf();
    return split(text.str());
}

void write(const fs::path& file, const Lines& lines) {
    fs::create_directories(file.parent_path());
    std::ofstream stream(file);
    for (const std::string& line : lines) {
        stream << line << "\n";
    }
}

// What it is about, then what happens.
Lines file_of(const Scenario& scenario, const Lines& events) {
    Lines lines;
    for (const std::string& line : split(scenario.about)) {
        lines.push_back("# " + line);
    }
    lines.emplace_back("");
    lines.insert(lines.end(), events.begin(), events.end());
    return lines;
}

// Where they first differ, with the lines around it; empty where they do not.
std::string first_difference(const Lines& expected, const Lines& actual) {
    const auto [there, here] = std::ranges::mismatch(expected, actual);
    if (there == expected.end() && here == actual.end()) {
        return {};
    }
    constexpr std::ptrdiff_t kBefore = 5;
    constexpr std::ptrdiff_t kAfter = 3;
    const auto line = there - expected.begin();
    const auto next = [&](const Lines& lines) {
        const auto size = static_cast<std::ptrdiff_t>(lines.size());
        return line == size ? Lines{"(the end)"}
                            : Lines(lines.begin() + line, lines.begin() + std::min(size, line + kAfter));
    };
    return fmt::format("at line {}:\n    {}\n  - {}\n  + {}\n", line + 1,
                       fmt::join(expected.begin() + std::max(line - kBefore, std::ptrdiff_t{0}), there, "\n    "),
                       fmt::join(next(expected), "\n  - "), fmt::join(next(actual), "\n  + "));
}

class Story : public ::testing::TestWithParam<Scenario> {};

TEST_P(Story, IsToldAsItsFileTellsIt) {
    const Telling telling = tell(GetParam());
    EXPECT_EQ(telling.violation, "");
    const fs::path file = kFolder / (GetParam().name + ".txt");
    const Lines lines = file_of(GetParam(), telling.lines);
    if (std::getenv("UNDERSTUDY_REWRITE_TRACES") != nullptr) {
        write(file, lines);
        return;
    }
    if (const std::string difference = first_difference(read(file), lines); !difference.empty()) {
        FAIL() << file.filename() << " tells it otherwise (-) than it happens (+), " << difference
               << "If it should happen so: UNDERSTUDY_REWRITE_TRACES=1 rewrites the files in\n"
               << kFolder << "; read what changed before you commit it.";
    }
}

INSTANTIATE_TEST_SUITE_P(Scenarios, Story, ::testing::ValuesIn(scenarios()),
                         [](const auto& scenario) { return scenario.param.name; });

// Or a scenario that is gone leaves a file that nobody compares.
TEST(Stories, EveryFileHasItsScenario) {
    for (const auto& entry : fs::directory_iterator(kFolder)) {
        EXPECT_TRUE(std::ranges::any_of(scenarios(), [&](const Scenario& scenario) {
            return entry.path().filename() == scenario.name + ".txt";
        })) << entry.path();
    }
}

}  // namespace
}  // namespace understudy::replication::simulation
