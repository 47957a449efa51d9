// understudy-rebuild as its users call it: a Debian source package becomes one whose programs are interrupted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>

#include "common/temporary_directory.hpp"
#include "tests/integration/tools/linux_root.hpp"
#include "tests/integration/tools/on_kvm.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {
namespace {

using ::testing::HasSubstr;

class Rebuild : public testing::OnKvm {
  protected:
    Finished shell(const std::string& line) const {
        return run_to_end({.command = {"sh", "-ec", line},
                           .directory = folder_.path(),
                           .environment = {"U=" UNDERSTUDY_BINARY_DIR "/understudy",
                                           "REBUILD=" UNDERSTUDY_BINARY_DIR "/understudy-rebuild",
                                           "PACKAGES=" UNDERSTUDY_SOURCE_DIR "/tests/data/packages"}},
                          std::chrono::minutes(12));
    }

    TemporaryDirectory folder_{"understudy-rebuild"};
};

TEST_F(Rebuild, SaysWhatIsWrong) {
    EXPECT_EQ(shell("$REBUILD --help").exit_status, 0);
    EXPECT_EQ(shell("$REBUILD").exit_status, 2);
    EXPECT_THAT(shell("$REBUILD 'No package'").errors, HasSubstr("is no source package's name, and no folder"));
    EXPECT_THAT(shell("mkdir empty; $REBUILD ./empty").errors, HasSubstr("has no debian/control"));
}

TEST_F(Rebuild, MakesAPackageWhoseProgramIsInterrupted) {
    if (const std::string missing = testing::LinuxRoot::missing(); !missing.empty()) {
        GTEST_SKIP() << missing;
    }
    if (shell("command -v mmdebstrap dpkg-scanpackages || exit 9").exit_status != 0) {
        GTEST_SKIP() << "no mmdebstrap or dpkg-scanpackages: apt-get install mmdebstrap dpkg-dev";
    }
    if (::geteuid() != 0 && shell("unshare --map-root-user --map-auto true").exit_status != 0) {
        GTEST_SKIP() << "neither root nor a user namespace (package uidmap, /etc/subuid)";
    }
    if (shell("apt-get indextargets 'Created-By: Packages' | grep -q ' bookworm main\\|Codename: bookworm'")
                .exit_status != 0 ||
        shell("apt-get -qq --print-uris download hello").exit_status != 0) {
        GTEST_SKIP() << "apt has no source for Debian 12 (bookworm main)";
    }
    const Finished built = shell("$REBUILD -o counted $PACKAGES/patience");
    ASSERT_EQ(built.exit_status, 0) << built.errors;
    EXPECT_EQ(built.output, "./patience_1.0+counted1_amd64.deb\n");
    const Finished recorded = shell(
        "mkdir root; dpkg-deb -x counted/*.deb root; grep -q '^Package: patience' counted/Packages\n"
        "tar -cf root.tar -C root .; $U image --from-tar root.tar -o root.img > image.log\n"
        "timeout 60 $U run --image root.img --memory 96M --record log --digest-interval 20 -- patience");
    EXPECT_EQ(recorded.exit_status, 0) << recorded.errors;
    EXPECT_EQ(recorded.output, "patience rewarded\r\n");
    EXPECT_THAT(shell("$U replay --quiet log").errors, HasSubstr("all equal"));
}

}  // namespace
}  // namespace understudy::tools
