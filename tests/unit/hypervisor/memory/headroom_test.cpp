#include "hypervisor/memory/headroom.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "common/temporary_directory.hpp"

namespace understudy::memory {
namespace {

class Headroom : public testing::Test {
  protected:
    void write(const std::string& path, const std::string& text) {
        const auto file = root_.path() / path;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file) << text;
    }

    TemporaryDirectory root_;
};

TEST_F(Headroom, IsNothingWhereTheHostDoesNotTell) {
    EXPECT_FALSE(memory_headroom(root_.path()));
}

TEST_F(Headroom, IsWhatTheHostCanSpare) {
    write("proc/meminfo", "MemTotal: 4000 kB\nMemFree: 100 kB\nMemAvailable: 2000 kB\n");
    EXPECT_EQ(memory_headroom(root_.path()), 2000_KiB);
}

TEST_F(Headroom, IsNoMoreThanTheGroupsLeave) {
    write("proc/meminfo", "MemAvailable: 2000000 kB\n");
    write("proc/self/cgroup", "0::/outer/inner\n");
    write("sys/fs/cgroup/outer/inner/memory.max", "max\n");
    write("sys/fs/cgroup/outer/inner/memory.current", "4096\n");
    EXPECT_EQ(memory_headroom(root_.path()), 2000000_KiB);
    write("sys/fs/cgroup/outer/memory.max", "1048576\n");
    write("sys/fs/cgroup/outer/memory.current", "524288\n");
    EXPECT_EQ(memory_headroom(root_.path()), 512_KiB);
    write("sys/fs/cgroup/outer/memory.stat", "anon 1\ninactive_file 262144\n");
    EXPECT_EQ(memory_headroom(root_.path()), 768_KiB) << "what the kernel takes back counts as left";
    write("sys/fs/cgroup/outer/memory.current", "2097152\n");
    EXPECT_EQ(memory_headroom(root_.path()), 0_KiB);
}

TEST_F(Headroom, KnowsTheGroupsOfOlderHosts) {
    write("proc/meminfo", "MemAvailable: 2000000 kB\n");
    write("proc/self/cgroup", "3:cpu,cpuacct:/x\n2:memory:/one\n");
    write("sys/fs/cgroup/memory/one/memory.limit_in_bytes", "3145728\n");
    write("sys/fs/cgroup/memory/one/memory.usage_in_bytes", "1048576\n");
    EXPECT_EQ(memory_headroom(root_.path()), 2_MiB);
}

}  // namespace
}  // namespace understudy::memory
