// The guest kernel against Linux: each program of programs/ states what Linux does, and says so on the host and in the
// guest alike. What the guest did is recorded, and its replay has to agree.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <tuple>

namespace understudy {
namespace {

namespace fs = std::filesystem;

const std::string kPrograms = KERNEL_PROGRAMS;
const std::string kCommand = UNDERSTUDY_BINARY_DIR "/understudy";
const std::string kArguments = " first 'second one'";

struct Outcome {
    int status = -1;
    std::string text;
};

// Runs a shell command, at most two minutes.
Outcome run(const std::string& command) {
    Outcome outcome;
    FILE* pipe = ::popen(("timeout 120 " + command).c_str(), "r");
    if (pipe == nullptr) {
        return outcome;
    }
    std::array<char, 4096> bytes{};
    while (const std::size_t count = std::fread(bytes.data(), 1, bytes.size(), pipe)) {
        outcome.text.append(bytes.data(), count);
    }
    const int status = ::pclose(pipe);
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return outcome;
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
    Fixture() : home_(fs::temp_directory_path() / ("kernel_guest_test." + std::to_string(::getpid()))) {
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
        EXPECT_EQ(run("tar --format=ustar -C " + root.string() + " -cf " + archive().string() + " .").status, 0);
    }
    ~Fixture() { fs::remove_all(home_); }
    Fixture(const Fixture&) = delete;
    Fixture& operator=(const Fixture&) = delete;

    [[nodiscard]] fs::path folder() const { return home_ / "root"; }
    [[nodiscard]] fs::path archive() const { return home_ / "root.tar"; }
    [[nodiscard]] fs::path log() const { return home_ / "log"; }

  private:
    fs::path home_;
};

// What a static musl program cannot be asked: its sbrk grows nothing, and it rounds and checks some arguments itself.
bool fits(const std::string& program, const std::string& variant) {
    const bool glibc_only = program == "files" || program == "memory";
    return variant != "musl" || !glibc_only;
}

class KernelGuest : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {};

TEST_P(KernelGuest, DoesWhatLinuxDoes) {
    const auto& [program, variant] = GetParam();
    if (::access("/dev/kvm", R_OK | W_OK) != 0) {
        GTEST_SKIP() << "/dev/kvm cannot be used here";
    }
    const Fixture fixture;
    // Counted programs need the guest's counter cell: the host runs the ordinary build of the same source.
    const std::string on_host = kPrograms + "/" + (variant == "counted" ? "glibc" : variant) + "/" + program;
    const Outcome host = run("env -C " + fixture.folder().string() + " GREETING='hello world' " + on_host + kArguments);
    const Outcome guest =
        run(kCommand + " run --memory 64M --env GREETING='hello world' --root " + fixture.archive().string() +
            " --record " + fixture.log().string() + " --digest-interval 50 --program " + kPrograms + "/" + variant +
            "/" + program + " --" + kArguments);
    const int expected = program == "process" ? 42 : 0;
    EXPECT_EQ(host.status, expected) << host.text;
    EXPECT_EQ(guest.status, expected) << guest.text;
    EXPECT_GE(count(host.text, "PASS "), 30U);
    EXPECT_EQ(count(host.text, "FAIL "), 0U);
    EXPECT_EQ(count(guest.text, "PASS "), count(host.text, "PASS ")) << guest.text;
    EXPECT_EQ(count(guest.text, "FAIL "), 0U) << guest.text;
    EXPECT_EQ(count(guest.text, "is not supported"), 0U) << guest.text;

    const Outcome replay = run(kCommand + " replay --quiet " + fixture.log().string() + " 2>&1");
    EXPECT_EQ(replay.status, 0) << replay.text << "\nreplay it with: " << kCommand << " replay, after recording "
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

INSTANTIATE_TEST_SUITE_P(Programs, KernelGuest, ::testing::ValuesIn(cases()),
                         [](const auto& test) { return std::get<0>(test.param) + "_" + std::get<1>(test.param); });

// An unknown call is an error to the program and a line on the console, once.
TEST(KernelGuestConsole, NamesUnsupportedCallsOnce) {
    if (::access("/dev/kvm", R_OK | W_OK) != 0) {
        GTEST_SKIP() << "/dev/kvm cannot be used here";
    }
    const Outcome guest = run(kCommand + " run --memory 64M --program " + kPrograms + "/glibc/unsupported 2>&1");
    EXPECT_EQ(guest.status, 0) << guest.text;
    EXPECT_EQ(guest.text,
              "understudy: system call 57 (fork) is not supported\n"
              "understudy: system call 206 (io_setup) is not supported\n"
              "understudy: sockets of family 10 (AF_INET6) are not supported\n"
              "understudy: sockets of family 1 (AF_UNIX) are not supported\n");
}

// The network outlives the end of the kernel's memory, and has all of it again afterwards.
TEST(KernelGuestMemory, ExhaustionPasses) {
    if (::access("/dev/kvm", R_OK | W_OK) != 0) {
        GTEST_SKIP() << "/dev/kvm cannot be used here";
    }
    const Fixture fixture;
    const Outcome guest = run(kCommand + " run --memory 32M --record " + fixture.log().string() + " --program " +
                              kPrograms + "/counted/exhaustion 2>&1");
    EXPECT_EQ(guest.status, 0) << guest.text;
    const Outcome replay = run(kCommand + " replay --quiet " + fixture.log().string() + " 2>&1");
    EXPECT_EQ(replay.status, 0) << replay.text;
}

}  // namespace
}  // namespace understudy
