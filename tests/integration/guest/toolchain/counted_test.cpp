// Programs that understudy-cc compiled, in a Linux guest: they are interrupted inside their own code, at counts that a
// replay meets again, whether they are static, loaded anywhere, or in a library.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "common/temporary_directory.hpp"
#include "tests/integration/tools/linux_root.hpp"
#include "tests/integration/tools/on_kvm.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {
namespace {

using ::testing::HasSubstr;

class Counted : public testing::OnKvm {
  protected:
    void SetUp() override {
        OnKvm::SetUp();
        if (IsSkipped()) {
            return;
        }
        if (const std::string missing = testing::LinuxRoot::missing(); !missing.empty()) {
            GTEST_SKIP() << missing;
        }
    }
    Finished shell(const std::string& line) const {
        return run_to_end(
            {.command = {"sh", "-ec", line},
             .directory = folder_.path(),
             .environment = {"U=" UNDERSTUDY_BINARY_DIR "/understudy", "CC=" UNDERSTUDY_BINARY_DIR "/understudy-cc",
                             "P=" COUNTED_PROGRAMS, "XDG_CACHE_HOME=" + (folder_.path() / "cache").string()}});
    }

    // Builds bin/counted below root/ by `commands`, adds the libraries that it needs, and runs, records and replays it.
    void expect_interrupted(const std::string& commands) const {
        const Finished built = shell("mkdir -p root/bin root/lib\n" + commands +
                                     "\nfor f in $(ldd root/bin/counted | sed -n 's/.* => \\(\\/[^ ]*\\) .*/\\1/p; "
                                     "s/^\\t\\(\\/[^ ]*\\) .*/\\1/p'); do "
                                     "mkdir -p root$(dirname $f); cp -L $f root$f; done\n"
                                     "tar -cf root.tar -C root .\n$U image --from-tar root.tar -o root.img");
        ASSERT_EQ(built.exit_status, 0) << built.output << built.errors;
        const Finished recorded =
            shell("timeout 60 $U run --image root.img --memory 96M --record log --digest-interval 20 -- counted");
        EXPECT_EQ(recorded.exit_status, 0) << recorded.errors;
        EXPECT_EQ(recorded.output, "timer\r\nthreads\r\nforked\r\nexecuted\r\nkilled\r\n");
        const Finished replayed = shell("$U replay log");
        EXPECT_EQ(replayed.exit_status, 0) << replayed.errors;
        EXPECT_THAT(replayed.errors, HasSubstr("all equal"));
    }

    TemporaryDirectory folder_{"understudy-counted"};
};

TEST_F(Counted, StaticProgramsAreInterrupted) {
    expect_interrupted("$CC -O2 -pthread -o root/bin/counted $P/counted.c $P/spin.c");
}

TEST_F(Counted, ProgramsThatAreLoadedAnywhereAreInterrupted) {
    expect_interrupted("$CC --dynamic -O2 -fPIE -pie -pthread -o root/bin/counted $P/counted.c $P/spin.c");
}

TEST_F(Counted, ProgramsAreInterruptedInALibrary) {
    expect_interrupted(
        "$CC --dynamic -O1 -fPIC -shared -Wl,-z,text -Wl,-soname,libspin.so -o root/lib/libspin.so $P/spin.c\n"
        "clang-14 -O2 -march=x86-64-v2 -pthread -o root/bin/counted $P/counted.c root/lib/libspin.so -Wl,-rpath,/lib");
}

}  // namespace
}  // namespace understudy::tools
