// The demonstration under each fault, and how it ends when it is ended.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/integration/tools/on_kvm.hpp"
#include "tools/demo/stage.hpp"
#include "tools/process/exit_status.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using testing::contents;
using ::testing::HasSubstr;
using testing::kExecutable;
using testing::kPatience;
using testing::kSuspicion;
using ::testing::Not;
using testing::OnKvm;

class Demonstration : public OnKvm {
  protected:
    // Runs `understudy demo`; its temporary directories are made in `directory`.
    std::shared_ptr<Child> start(std::vector<std::string> arguments) {
        std::filesystem::create_directories(temporary());
        std::vector<std::string> command{
            "env", "TMPDIR=" + temporary().string(), kExecutable.string(), "demo", "--suspicion", kSuspicion};
        command.insert(command.end(), arguments.begin(), arguments.end());
        return stage_.start("demo", std::move(command), [this](std::string_view line) {
            output_ += line;
            output_ += '\n';
        });
    }
    std::filesystem::path temporary() { return stage_.directory().path() / "tmp"; }

    // The demonstration and the processes it has started: they know its directory.
    std::set<pid_t> processes() {
        const std::string mark = "TMPDIR=" + temporary().string();
        std::set<pid_t> found;
        for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
            std::ifstream environment(entry.path() / "environ");
            const std::string text(std::istreambuf_iterator<char>(environment), {});
            if (text.find(mark) != std::string::npos) {
                found.insert(static_cast<pid_t>(std::stol(entry.path().filename())));
            }
        }
        return found;
    }

    Stage stage_;
    std::string output_;
};

struct Case {
    const char* guest;
    const char* package;  // of its image; empty: it has none
    const char* fault;
};

class Fault : public Demonstration, public ::testing::WithParamInterface<Case> {
  protected:
    // An image of the package, as the demonstration would make it, but before its time is counted. Without one: what
    // was in the way.
    std::string make_image(const std::filesystem::path& file) {
        const auto image = stage_.start(
            "image", {kExecutable.string(), "image", "--package", GetParam().package, "--output", file.string()},
            [](std::string_view) {});
        stage_.until([&] { return !image->running(); }, 10min, "the image");
        return image->exit_status() == 0 ? "" : image->last_words();
    }
};

TEST_P(Fault, IsSurvivedWithoutALostWriteOrConnection) {
    const auto report = stage_.directory().path() / "report.json";
    const auto timeline = stage_.directory().path() / "timeline.json";
    std::vector<std::string> arguments{"--guest",    GetParam().guest, "--rounds", "2",
                                       "--fault",    GetParam().fault, "--json",   report.string(),
                                       "--timeline", timeline.string()};
    if (*GetParam().package != '\0') {
        const auto file = stage_.directory().path() / "guest.img";
        if (const std::string trouble = make_image(file); !trouble.empty()) {
            GTEST_SKIP() << "no image of " << GetParam().package << ": " << trouble;
        }
        arguments.insert(arguments.end(), {"--image", file.string()});
    }
    const auto demo = start(arguments);
    stage_.until([&] { return !demo->running(); }, 240s, "the demonstration to end");
    EXPECT_EQ(demo->exit_status(), 0) << output_ << demo->last_words();
    EXPECT_THAT(contents(report), HasSubstr("\"ok\":true"));
    EXPECT_THAT(contents(report), HasSubstr(fmt::format("{{\"rounds\":[{{\"fault\":\"{}\"", GetParam().fault)));
    EXPECT_THAT(output_, HasSubstr("acknowledged writes lost              0\n"));
    // Every host was something for a while, and each of two faults was noticed some time later.
    EXPECT_EQ(run_to_end({"jq", "-r",
                          "[.traceEvents[] | select(.ph == \"X\" and .dur > 0) | .name] | "
                          "[index(\"leading\"), index(\"following\")] + [map(select(. == \"detection\")) | length] | "
                          "(.[0] != null and .[1] != null and .[2] == 2)",
                          timeline.string()})
                  .output,
              "true\n");
    EXPECT_TRUE(std::filesystem::is_empty(temporary())) << "it left files behind";
    EXPECT_TRUE(processes().empty()) << "it left processes behind";
}

INSTANTIATE_TEST_SUITE_P(Demonstration, Fault,
                         ::testing::Values(Case{"redis", "redis-server", "kill"}, Case{"redis", "redis-server", "stop"},
                                           Case{"redis", "redis-server", "partition"},
                                           Case{"postgres", "postgresql", "kill"}, Case{"kv", "", "kill"},
                                           Case{"kv", "", "cut"}, Case{"kv", "", "arbiter"}, Case{"kv", "", "gateway"}),
                         [](const auto& one) { return fmt::format("{}_{}", one.param.guest, one.param.fault); });

// The primary goes on, and what is told of that is told in times since the flip.
TEST_F(Demonstration, BringsABackupBackWhoseMemoryHasChanged) {
    const auto report = stage_.directory().path() / "report.json";
    const auto timeline = stage_.directory().path() / "timeline.json";
    const auto demo = start({"--guest", "kv", "--rounds", "2", "--fault", "flip", "--json", report.string(),
                             "--timeline", timeline.string()});
    stage_.until([&] { return !demo->running(); }, 240s, "the demonstration to end");
    EXPECT_EQ(demo->exit_status(), 0) << output_ << demo->last_words();
    EXPECT_THAT(output_, HasSubstr("A BIT FLIPS"));
    EXPECT_EQ(
        run_to_end({"jq", "-c", "[.rounds[].phases[] | select(. != null and . > 240e3)]", report.string()}).output,
        "[]\n");
    EXPECT_EQ(run_to_end({"jq", "-c", "[.traceEvents[] | select(.ph != \"M\" and (.ts < 0 or .dur > 240e6))]",
                          timeline.string()})
                  .output,
              "[]\n");
}

TEST_F(Demonstration, ShowsWhatAGuestSaidThatDoesNotServe) {
    const auto empty = stage_.directory().path() / "empty";
    std::filesystem::create_directories(empty / "etc");
    const auto tar = stage_.start("tar", {"tar", "-cf", empty.string() + ".tar", "-C", empty.string(), "."},
                                  [](std::string_view) {});
    stage_.until([&] { return !tar->running(); }, kPatience, "the tar");
    const auto image = stage_.start("image",
                                    {kExecutable.string(), "image", "--no-cache", "--from-tar", empty.string() + ".tar",
                                     "--output", empty.string() + ".img"},
                                    [](std::string_view) {});
    stage_.until([&] { return !image->running(); }, kPatience, "the image");
    if (image->exit_status() != 0) {
        GTEST_SKIP() << "no image: " << image->last_words();
    }
    const auto demo = start({"--image", empty.string() + ".img"});
    stage_.until([&] { return !demo->running(); }, kPatience, "the demonstration to end");
    EXPECT_EQ(demo->exit_status(), 1);
    EXPECT_THAT(output_,
                AllOf(HasSubstr("console: init: cannot run redis-server"), HasSubstr("No such file or directory")));
}

TEST_F(Demonstration, LeavesNoProcessBehindWhenItIsKilledItself) {
    const auto demo = start({"--guest", "kv", "--rounds", "1000"});
    stage_.until([&] { return output_.find("is protected by") != std::string::npos; }, kPatience, "a protected guest");
    EXPECT_GT(processes().size(), 5U);
    demo->signal(SIGKILL);
    stage_.until([&] { return !demo->running() && processes().empty(); }, kPatience, "every process to be gone");
}

TEST_F(Demonstration, EndsInOrderWhenItIsInterrupted) {
    const auto demo = start({"--guest", "kv", "--rounds", "1000"});
    stage_.until([&] { return output_.find("is protected by") != std::string::npos; }, kPatience, "a protected guest");
    demo->signal(SIGINT);
    stage_.until([&] { return !demo->running(); }, kPatience, "the demonstration to end");
    EXPECT_EQ(demo->exit_status(), kInterrupted);
    EXPECT_THAT(demo->last_words(), HasSubstr("interrupted"));
    EXPECT_THAT(output_, Not(HasSubstr("BROKEN")));
    EXPECT_TRUE(std::filesystem::is_empty(temporary()));
}

}  // namespace
}  // namespace understudy::tools
