// The guest kernel against Linux: each program of programs/ states what Linux does, and says so on the host and in the
// guest alike. What the guest did is recorded, and its replay has to agree.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "common/temporary_directory.hpp"
#include "tools/process/run.hpp"

namespace understudy {
namespace {

namespace fs = std::filesystem;
using tools::Finished;
using tools::ProcessConfig;
using tools::run_to_end;

const std::string kPrograms = KERNEL_PROGRAMS;
const std::string kCommand = UNDERSTUDY_BINARY_DIR "/understudy";
const std::vector<std::string> kArguments = {"first", "second one"};

// `understudy <words>`.
Finished understudy(std::vector<std::string> words) {
    words.insert(words.begin(), kCommand);
    return run_to_end(std::move(words));
}

std::size_t count(const std::string& text, const std::string& what) {
    std::size_t found = 0;
    for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) {
        ++found;
    }
    return found;
}

// The files that programs/files.c describes, as a folder for the host and an archive for the guest.
class Fixture {
  public:
    Fixture() {
        const fs::path root = folder();
        fs::create_directories(root / "folder/empty");
        std::ofstream(root / "text") << "one\ntwo\n";
        std::ofstream(root / "folder/inner") << "inner";
        std::ofstream big(root / "big", std::ios::binary);
        for (int i = 0; i < 100000; ++i) {
            big.put(static_cast<char>(i % 251));
        }
        big.close();
        fs::create_symlink("text", root / "link");
        fs::create_symlink("loop", root / "loop");
        for (const char* file : {"text", "big", "folder/inner"}) {
            fs::permissions(root / file, fs::perms(0644));
        }
        EXPECT_EQ(run_to_end({"tar", "--format=ustar", "-C", root, "-cf", archive(), "."}).exit_status, 0);
    }

    [[nodiscard]] fs::path folder() const { return home_.path() / "root"; }
    [[nodiscard]] fs::path archive() const { return home_.path() / "root.tar"; }
    [[nodiscard]] fs::path log() const { return home_.path() / "log"; }

  private:
    TemporaryDirectory home_{"understudy-kernel-programs"};
};

// What a static musl program cannot be asked: its sbrk grows nothing, and it rounds and checks some arguments itself.
bool fits(const std::string& program, const std::string& variant) {
    const bool glibc_only = program == "files" || program == "memory";
    return variant != "musl" || !glibc_only;
}

class GuestKernel : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {};

TEST_P(GuestKernel, DoesWhatLinuxDoes) {
    const auto& [program, variant] = GetParam();
    if (::access("/dev/kvm", R_OK | W_OK) != 0) {
        GTEST_SKIP() << "/dev/kvm cannot be used here";
    }
    const Fixture fixture;
    // Counted programs need the guest's counter cell: the host runs the ordinary build of the same source.
    const std::string on_host = kPrograms + "/" + (variant == "counted" ? "glibc" : variant) + "/" + program;
    ProcessConfig config{.command = {on_host}, .directory = fixture.folder(), .environment = {"GREETING=hello world"}};
    config.command.insert(config.command.end(), kArguments.begin(), kArguments.end());
    const Finished host = run_to_end(config);
    std::vector<std::string> words = {"run", "--memory", "64M", "--env", "GREETING=hello world"};
    words.insert(words.end(), {"--root", fixture.archive(), "--record", fixture.log(), "--digest-interval", "50"});
    words.insert(words.end(), {"--program", kPrograms + "/" + variant + "/" + program, "--"});
    words.insert(words.end(), kArguments.begin(), kArguments.end());
    const Finished guest = understudy(words);
    const int expected = program == "process" ? 42 : 0;
    EXPECT_EQ(host.exit_status, expected) << host.output << host.errors;
    EXPECT_EQ(guest.exit_status, expected) << guest.output << guest.errors;
    EXPECT_GE(count(host.output, "PASS "), 30U);
    EXPECT_EQ(count(host.output, "FAIL "), 0U);
    EXPECT_EQ(count(guest.output, "PASS "), count(host.output, "PASS ")) << guest.output;
    EXPECT_EQ(count(guest.output, "FAIL "), 0U) << guest.output;
    EXPECT_EQ(count(guest.output, "is not supported"), 0U) << guest.output;

    const Finished replay = understudy({"replay", "--quiet", fixture.log()});
    EXPECT_EQ(replay.exit_status, 0) << replay.errors << "\nreplay it with: " << kCommand << " replay, after recording "
                                     << program;
}

std::vector<std::tuple<std::string, std::string>> cases() {
    std::vector<std::tuple<std::string, std::string>> all;
    for (const char* program :
         {"daemon", "descriptors", "epoll", "files", "memory", "process", "signals", "tcp", "time", "udp"}) {
        for (const char* variant : {"glibc", "musl", "counted"}) {
            if (fits(program, variant)) {
                all.emplace_back(program, variant);
            }
        }
    }
    return all;
}

INSTANTIATE_TEST_SUITE_P(Programs, GuestKernel, ::testing::ValuesIn(cases()),
                         [](const auto& test) { return std::get<0>(test.param) + "_" + std::get<1>(test.param); });

// An unknown call is an error to the program and a line on the console, once.
TEST(GuestKernelConsole, NamesUnsupportedCallsOnce) {
    if (::access("/dev/kvm", R_OK | W_OK) != 0) {
        GTEST_SKIP() << "/dev/kvm cannot be used here";
    }
    const Finished guest = understudy({"run", "--memory", "64M", "--program", kPrograms + "/glibc/unsupported"});
    EXPECT_EQ(guest.exit_status, 0) << guest.errors;
    EXPECT_EQ(guest.output,
              "understudy: system call 57 (fork) is not supported\n"
              "understudy: system call 206 (io_setup) is not supported\n"
              "understudy: sockets of family 10 (AF_INET6) are not supported\n"
              "understudy: sockets of family 1 (AF_UNIX) are not supported\n");
}

// The network outlives the end of the kernel's memory, and has all of it again afterwards.
TEST(GuestKernelMemory, IsWholeAgainAfterItsExhaustion) {
    if (::access("/dev/kvm", R_OK | W_OK) != 0) {
        GTEST_SKIP() << "/dev/kvm cannot be used here";
    }
    const Fixture fixture;
    const Finished guest = understudy(
        {"run", "--memory", "32M", "--record", fixture.log(), "--program", kPrograms + "/counted/exhaustion"});
    EXPECT_EQ(guest.exit_status, 0) << guest.output << guest.errors;
    const Finished replay = understudy({"replay", "--quiet", fixture.log()});
    EXPECT_EQ(replay.exit_status, 0) << replay.errors;
}

}  // namespace
}  // namespace understudy
