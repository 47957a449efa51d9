// `understudy bench guest`, a quick run of a few rows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <regex>
#include <string>

#include "tests/integration/tools/linux_root.hpp"
#include "tests/integration/tools/on_kvm.hpp"

namespace understudy::tools {
namespace {

using ::testing::HasSubstr;
using testing::kExecutable;
using testing::LinuxRoot;

class GuestBench : public testing::OnKvm {
  protected:
    void SetUp() override {
        OnKvm::SetUp();
        if (IsSkipped()) {
            return;
        }
        if (const std::string missing = LinuxRoot::missing(); !missing.empty()) {
            GTEST_SKIP() << missing;
        }
    }

    // Runs in the root's directory.
    static Finished shell(const LinuxRoot& root, const std::string& line) {
        return run_to_end({.command = {"sh", "-ec", line},
                           .directory = root.directory(),
                           .environment = {"U=" + kExecutable.string()}},
                          std::chrono::minutes(5));
    }
};

// The value of a row of the JSON object; nothing where it was not measured.
std::optional<double> value_of(const std::string& json, const std::string& row) {
    const std::regex pattern("\"what\":\"" + row + "\",\"measured\":true,[^{]*\"value\":([0-9.]+)");
    std::smatch match;
    return std::regex_search(json, match, pattern) ? std::optional(std::stod(match[1])) : std::nullopt;
}

// A guest that never comes is not waited for.
TEST_F(GuestBench, SaysWhyAGuestDoesNotStart) {
    const LinuxRoot root;
    const Finished done = shell(root,
                                "head -c 100000 /dev/zero > no.img\n"
                                "timeout 60 $U bench guest --repeats 1 --only boot --image no.img");
    EXPECT_THAT(done.output, HasSubstr("no.img is no image")) << done.errors;
}

TEST_F(GuestBench, MeasuresHostAndGuest) {
    const LinuxRoot root;
    // What the probe is brought along by, and what it is linked with.
    const Finished image = shell(root,
                                 "B=$(command -v busybox)\n"
                                 "exec $U image --from-tar root.tar --add $B:/bin/base64 --add $B:/bin/gzip "
                                 "--add $B:/bin/chmod --add $B:/bin/printf "
                                 "--add /lib64/ld-linux-x86-64.so.2:/lib64/ld-linux-x86-64.so.2 "
                                 "--add /lib/x86_64-linux-gnu/libc.so.6:/lib/x86_64-linux-gnu/libc.so.6 -o bench.img");
    ASSERT_EQ(image.exit_status, 0) << image.errors;
    const Finished done =
        shell(root,
              "$U bench guest --json --html page.html --repeats 1 --only boot,calls,faults,spawns,kernel "
              "--image bench.img > report.json\n"
              "jq -e '.machine.cores > 0 and (.sections[0].rows | length) == 5' report.json > verdict\n"
              "grep -q '<h2>Linux as a guest</h2>' page.html\n"
              "cat report.json");
    ASSERT_EQ(done.exit_status, 0) << done.output << done.errors;
    for (const char* row : {"boot, to a command's first words", "getppid", "anonymous page fault",
                            "fork, exec, wait of a small dynamic program"}) {
        EXPECT_GT(value_of(done.output, row).value_or(0), 0) << row << "\n" << done.output;
    }
    EXPECT_THAT(done.output, HasSubstr("--uncounted-kernel"));
}

TEST_F(GuestBench, KnowsItsRows) {
    const LinuxRoot root;
    const Finished done = shell(root, "exec $U bench guest --only no-such-row --image root.img");
    EXPECT_NE(done.exit_status, 0);
    EXPECT_THAT(done.errors, HasSubstr("no-such-row"));
}

}  // namespace
}  // namespace understudy::tools
