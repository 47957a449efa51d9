// Programs in a Linux guest meet the processor that Linux lets them have, whichever KVM is below.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "common/temporary_directory.hpp"
#include "tests/integration/tools/linux_root.hpp"
#include "tests/integration/tools/on_kvm.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {
namespace {

class Processor : public testing::OnKvm {};

TEST_F(Processor, IsWhatLinuxLetsProgramsHave) {
    if (const std::string missing = testing::LinuxRoot::missing(); !missing.empty()) {
        GTEST_SKIP() << missing;
    }
    const TemporaryDirectory folder("understudy-processor");
    const Finished done =
        run_to_end({.command = {"sh", "-ec",
                                "mkdir -p root/bin; cc -O1 -static -o root/bin/processor " PV_PROGRAMS "/processor.c\n"
                                "tar -cf root.tar -C root .; $U image --from-tar root.tar -o root.img > image.log\n"
                                "exec timeout 60 $U run --image root.img --memory 96M -- processor"},
                    .directory = folder.path(),
                    .environment = {"U=" UNDERSTUDY_BINARY_DIR "/understudy",
                                    "XDG_CACHE_HOME=" + (folder.path() / "cache").string()}});
    EXPECT_EQ(done.exit_status, 0) << done.errors;
    EXPECT_EQ(done.output, "all holds\r\n");
}

}  // namespace
}  // namespace understudy::tools
