// `understudy bench failover`, a round of each kind of death on the small kernel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <string>

#include "common/temporary_directory.hpp"
#include "tests/integration/tools/on_kvm.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {
namespace {

using testing::kExecutable;
using testing::kSuspicion;

class FailoverBench : public testing::OnKvm {
  protected:
    // The value that jq makes of the report.
    std::string ask(const std::string& question) {
        return run_to_end({.command = {"jq", "-r", question, "report.json"}, .directory = directory_.path()}).output;
    }
    void measure(const std::string& faults) {
        constexpr const char* kBench =
            "exec \"$0\" bench failover --guest kv --rounds 1 --suspicion \"$1\" --only \"$2\" "
            "--json --html page.html > report.json";
        const auto done = run_to_end(
            {.command = {"sh", "-c", kBench, kExecutable.string(), kSuspicion, faults}, .directory = directory_.path()},
            std::chrono::minutes(5));
        ASSERT_EQ(done.exit_status, 0) << done.errors;
        ASSERT_TRUE(std::filesystem::exists(directory_.path() / "page.html"));
        EXPECT_EQ(
            ask(".sections[0].rows[] | select(.missing | contains(\"waited\") or contains(\"ended\")) | .missing"), "")
            << done.errors;
        EXPECT_EQ(ask(".sections[0].rows[] | select(.what == \"acknowledged writes lost\") | .value"), "0\n");
    }

    TemporaryDirectory directory_{"understudy-bench-test"};
};

TEST_F(FailoverBench, MeasuresEachKindOfDeath) {
    measure("kill,cut,arbiter,gateway");
    for (const char* title :
         {"SIGKILL", "channel cut", "SIGKILL, and the arbiter\\u0027s leader", "SIGKILL, and its gateway link"}) {
        const std::string what = std::string("\"") + title + ": first answer at a client, since the fault\"";
        EXPECT_EQ(ask(".sections[0].rows[] | select(.what == " + what + ") | .measured and .value > 0"), "true\n")
            << title;
    }
}

TEST_F(FailoverBench, MeasuresAHostThatIsGone) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "needs root: hosts are network namespaces";
    }
    measure("host");
    EXPECT_EQ(
        ask(".sections[0].rows[] | select(.what == \"host gone: first output left, since the fault\") | .value > 900"),
        "true\n");
}

}  // namespace
}  // namespace understudy::tools
