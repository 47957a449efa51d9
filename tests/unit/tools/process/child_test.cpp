#include "tools/process/child.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <csignal>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "common/temporary_directory.hpp"
#include "tests/unit/tools/error_of.hpp"
#include "tests/unit/tools/process/processes.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ChildTest : public ::testing::Test {
  protected:
    std::unique_ptr<Child> start(const std::string& script) {
        return std::make_unique<Child>(
            io_, Child::Config{{"sh", "-c", script}, directory_.path() / "out", directory_.path() / "err"},
            [this](std::string_view line) { lines_.emplace_back(line); });
    }
    void await_end(const Child& child) {
        const auto deadline = std::chrono::steady_clock::now() + 60s;
        io_.restart();
        while (child.running() && std::chrono::steady_clock::now() < deadline) {
            io_.run_one_until(deadline);
        }
        ASSERT_FALSE(child.running());
    }
    [[nodiscard]] std::string logged(const std::string& file) const {
        std::ifstream in(directory_.path() / file);
        return {std::istreambuf_iterator<char>(in), {}};
    }

    TemporaryDirectory directory_{"understudy-child"};
    boost::asio::io_context io_;
    std::vector<std::string> lines_;
};

TEST_F(ChildTest, IsReadLineByLineAndReaped) {
    const auto child = start("echo one; printf 'tw'; sleep 0.05; echo o; echo oops >&2; printf three; exit 3");
    EXPECT_EQ(child->exit_status(), -1);
    await_end(*child);
    EXPECT_THAT(lines_, ElementsAre("one", "two", "three"));
    EXPECT_EQ(child->exit_status(), 3);
    EXPECT_FALSE(testing::exists(child->pid()));
    EXPECT_EQ(logged("out"), "one\ntwo\nthree");
    EXPECT_EQ(logged("err"), "oops\n");
}

TEST_F(ChildTest, ItsLastWordsAreErrorsOrElseWhatAnEventTold) {
    const auto complaint = start(R"(echo '{"event":"warning","message":"all is well"}'; echo oops >&2; echo ' ' >&2)");
    await_end(*complaint);
    EXPECT_EQ(complaint->last_words(), "oops");

    std::filesystem::remove(directory_.path() / "err");
    const auto event = start(R"(printf '%s\n' '{"event":"console","text":"panic\n"}' '{"event":"lag","ms":1}')");
    await_end(*event);
    EXPECT_EQ(event->last_words(), "panic");
}

TEST_F(ChildTest, IsSignalledAndDiesWithItsObject) {
    auto child = start("exec sleep 1000");
    child->signal(SIGTERM);
    await_end(*child);
    EXPECT_EQ(child->exit_status(), 128 + SIGTERM);

    child = start("exec sleep 1000");
    const pid_t pid = child->pid();
    EXPECT_TRUE(testing::exists(pid));
    child.reset();
    EXPECT_FALSE(testing::exists(pid));
    io_.restart();
    io_.run();  // its handlers are still called, and do nothing
}

// The kernel reaps at once where SIGCHLD is ignored, and says to nobody how it ended.
TEST_F(ChildTest, EndsAlsoWhereNobodyKnowsHow) {
    const auto before = std::signal(SIGCHLD, SIG_IGN);
    const auto child = start("echo one; sleep 0.2; exit 3");
    await_end(*child);
    std::signal(SIGCHLD, before);
    EXPECT_THAT(lines_, ElementsAre("one"));
    EXPECT_EQ(child->exit_status(), -1);
}

TEST_F(ChildTest, ThatCannotBeExecutedIsAnError) {
    EXPECT_THAT(testing::error_of([&] {
                    const Child child(io_, {{"/no/such/program"}, directory_.path() / "out", directory_.path() / "err"},
                                      [](std::string_view) {});
                }),
                HasSubstr("cannot run /no/such/program: No such file"));
    io_.run();
}

}  // namespace
}  // namespace understudy::tools
