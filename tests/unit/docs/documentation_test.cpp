// What the documentation points at exists, and the tests are where and what it says.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <vector>

namespace understudy {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = UNDERSTUDY_SOURCE_DIR;

std::string contents(const fs::path& file) {
    std::ifstream stream(file);
    EXPECT_TRUE(stream) << file;
    return {std::istreambuf_iterator<char>(stream), {}};
}

// The targets of Markdown links that are paths, without the part behind '#'.
std::vector<std::string> linked_paths(const std::string& text) {
    static const std::regex link(R"(\]\(([^)#\s]+)(#[^)]*)?\))");
    std::vector<std::string> paths;
    for (auto it = std::sregex_iterator(text.begin(), text.end(), link); it != std::sregex_iterator(); ++it) {
        if (const std::string target = (*it)[1]; target.find("://") == std::string::npos) {
            paths.push_back(target);
        }
    }
    return paths;
}

TEST(Readme, EndsWithAMapWhosePathsExist) {
    const std::string text = contents(kRoot / "README.md");
    const auto map = text.find("\n## Where is ...?\n");
    ASSERT_NE(map, std::string::npos);
    EXPECT_EQ(text.find("\n## ", map + 1), std::string::npos) << "the map is not the last section";
    const auto paths = linked_paths(text.substr(map));
    EXPECT_GE(paths.size(), 30U);
    for (const std::string& path : paths) {
        EXPECT_TRUE(fs::exists(kRoot / path)) << path;
    }
}

std::vector<fs::path> pages() {
    std::vector<fs::path> found;
    for (const fs::path& folder : {kRoot, kRoot / "docs"}) {
        for (const auto& entry : fs::directory_iterator(folder)) {
            if (entry.path().extension() == ".md") {
                found.push_back(entry.path());
            }
        }
    }
    return found;
}

TEST(Documentation, LinksToFilesThatExist) {
    EXPECT_GE(pages().size(), 10U);
    for (const fs::path& page : pages()) {
        for (const std::string& path : linked_paths(contents(page))) {
            EXPECT_TRUE(fs::exists(page.parent_path() / path)) << page << " links to " << path;
        }
    }
}

// The paths of all source and build files from the root, with a slash before them.
std::vector<std::string> sources() {
    std::vector<std::string> found;
    for (const char* const top : {"arbiter", "common", "guest", "hypervisor", "logging_channel", "tests", "tools"}) {
        for (const auto& entry : fs::recursive_directory_iterator(kRoot / top)) {
            found.push_back("/" + fs::relative(entry.path(), kRoot).string());
        }
    }
    return found;
}

// `loop.cpp`, `replication/loop/loop.cpp`, `record_replay_test`: whatever looks like a source file or a test is one.
TEST(Documentation, NamesSourceFilesAndTestsThatExist) {
    static const std::regex name_pattern(R"(`([\w/]+\.(?:cpp|hpp|c|h|S|proto)|[\w/]+_test)`)");
    const auto all = sources();
    std::string build_files;
    for (const std::string& path : all) {
        build_files += path.ends_with("/CMakeLists.txt") ? contents(kRoot / path.substr(1)) : "";
    }
    std::size_t names = 0;
    for (const fs::path& page : pages()) {
        const std::string text = contents(page);
        for (auto it = std::sregex_iterator(text.begin(), text.end(), name_pattern); it != std::sregex_iterator();
             ++it) {
            ++names;
            const std::string name = (*it)[1];
            const bool test = name.ends_with("_test");
            const bool exists =
                std::ranges::any_of(
                    all, [&](const std::string& path) { return path.ends_with("/" + name + (test ? ".cpp" : "")); }) ||
                (test && build_files.find("understudy_test(" + name + " ") != std::string::npos);
            EXPECT_TRUE(exists) << page << " names " << name;
        }
    }
    EXPECT_GE(names, 50U);
}

// A command line in the documentation begins with a subcommand that exists.
TEST(Documentation, NamesSubcommandsThatExist) {
    static const std::regex command(R"(build/understudy ([a-z]+))");
    for (const char* const page : {"README.md", "docs/operating.md"}) {
        const std::string text = contents(kRoot / page);
        std::size_t commands = 0;
        for (auto it = std::sregex_iterator(text.begin(), text.end(), command); it != std::sregex_iterator(); ++it) {
            ++commands;
            EXPECT_TRUE(fs::exists(kRoot / "tools/command" / ((*it)[1].str() + ".cpp"))) << it->str();
        }
        EXPECT_GT(commands, 3U) << page;
    }
}

// The tests of a folder lie in the same folder below unit/, simulation/ or integration/, and their names are sentences
// in UpperCamelCase.
TEST(TestTree, MirrorsTheTreeOfTheCodeInOneStyle) {
    static const std::regex test_line(R"((?:^|\n)TEST(?:_F|_P)?\(\w+, (\w+)\))");
    static const std::regex sentence("[A-Z][A-Za-z0-9]*(_[0-9][A-Za-z0-9]*)?");
    std::size_t tests = 0;
    for (const char* const kind : {"unit", "simulation", "integration"}) {
        const fs::path root = kRoot / "tests" / kind;
        for (const auto& entry : fs::recursive_directory_iterator(root)) {
            const std::string file = entry.path().filename();
            if (!file.ends_with("_test.cpp") && !file.ends_with("_fuzz.cpp")) {
                continue;
            }
            EXPECT_TRUE(fs::exists(kRoot / fs::relative(entry.path().parent_path(), root))) << entry.path();
            const std::string text = contents(entry.path());
            for (auto it = std::sregex_iterator(text.begin(), text.end(), test_line); it != std::sregex_iterator();
                 ++it) {
                ++tests;
                EXPECT_TRUE(std::regex_match((*it)[1].str(), sentence)) << entry.path() << ": " << (*it)[1];
            }
        }
    }
    EXPECT_GT(tests, 300U);
}

}  // namespace
}  // namespace understudy
