// Each wall, from inside: a process of its own enters, tries what it must not and what it may, and tells.
#include "common/sandbox/sandbox.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <linux/landlock.h>
#include <linux/sockios.h>
#include <linux/userfaultfd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "common/error.hpp"
#include "common/file_descriptor.hpp"
#include "common/temporary_directory.hpp"

namespace understudy::sandbox {
namespace {

using ::testing::HasSubstr;

// What `act` has to say from inside.
std::string inside(const Walls& walls, const std::function<std::string()>& act) {
    std::array<int, 2> pipe{};
    EXPECT_EQ(::pipe(pipe.data()), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        std::string said;
        try {
            static_cast<void>(enter(walls));
            said = act();
        } catch (const std::exception& error) {
            said = std::string("threw ") + error.what();
        }
        const ssize_t written = ::write(pipe[1], said.data(), said.size());
        ::_exit(written == static_cast<ssize_t>(said.size()) ? 0 : 1);
    }
    ::close(pipe[1]);
    std::string said;
    std::array<char, 4096> part{};
    for (ssize_t got = 0; (got = ::read(pipe[0], part.data(), part.size())) > 0;) {
        said.append(part.data(), static_cast<std::size_t>(got));
    }
    ::close(pipe[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0) << said;
    return said;
}

// "name: why not, " for what went differently than it should; nothing otherwise.
class Attempts {
  public:
    void fails(const char* name, long result, int error) {
        const int got = errno;
        if (result >= 0 || got != error) {
            said_ += std::string(name) + ": " + (result >= 0 ? "it worked" : std::strerror(got)) + ", ";
        }
    }
    void works(const char* name, long result) {
        const int got = errno;
        if (result < 0) {
            said_ += std::string(name) + ": " + std::strerror(got) + ", ";
        }
    }
    [[nodiscard]] const std::string& said() const { return said_; }

  private:
    std::string said_;
};

std::string status_line(const std::string& name) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with(name + ":")) {
            return line.substr(line.find_last_of(" \t") + 1);
        }
    }
    return "?";
}

long map_with(int protection) {
    void* const mapped = ::mmap(nullptr, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mapped == MAP_FAILED ? -1 : 0;
}

void try_what_nobody_may(Attempts& attempts) {
    // Harmless where it is not prevented: there is no such file then, or it is nobody's child.
    const std::array<const char*, 2> words = {"/nonexistent", nullptr};
    const auto child = [](long result) {
        if (result == 0) {
            ::_exit(0);
        }
        return result;
    };
    attempts.fails("execve", ::execve(words[0], const_cast<char**>(words.data()), nullptr), EPERM);
    attempts.fails("execveat", ::syscall(SYS_execveat, AT_FDCWD, words[0], words.data(), nullptr, 0), EPERM);
    attempts.fails("fork", child(::syscall(SYS_fork)), EPERM);
    attempts.fails("clone", child(::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)), EPERM);
    attempts.fails("clone3", ::syscall(SYS_clone3, nullptr, 0), ENOSYS);
    attempts.fails("openat2", ::syscall(SYS_openat2, AT_FDCWD, "/nonexistent", nullptr, 0), ENOSYS);
    attempts.fails("ptrace", ::ptrace(PTRACE_ATTACH, -1, 0, 0), EPERM);
    attempts.fails("process_vm_readv", ::syscall(SYS_process_vm_readv, ::getppid(), nullptr, 0, nullptr, 0, 0), EPERM);
    attempts.fails("kill", ::kill(1, 0), EPERM);
    attempts.fails("tgkill", ::syscall(SYS_tgkill, 1, 1, 0), EPERM);
    const f_owner_ex other{F_OWNER_PID, ::getppid()};
    attempts.fails("signals by a file", ::fcntl(0, F_SETOWN, ::getppid()), EPERM);
    attempts.fails("the same", ::fcntl(0, F_SETOWN_EX, &other), EPERM);
    attempts.fails("of another kind", ::fcntl(0, F_SETSIG, SIGKILL), EPERM);
    attempts.fails("mount", ::mount("none", "/nonexistent", "tmpfs", 0, nullptr), EPERM);
    attempts.fails("unshare", ::unshare(CLONE_NEWUSER), EPERM);
    attempts.fails("setns", ::syscall(SYS_setns, -1, 0), EPERM);
    attempts.fails("chroot", ::chroot("/nonexistent"), EPERM);
    attempts.fails("bpf", ::syscall(SYS_bpf, BPF_PROG_LOAD, nullptr, 0), EPERM);
    attempts.fails("io_uring", ::syscall(SYS_io_uring_setup, 1, nullptr), EPERM);
    attempts.fails("keyctl", ::syscall(SYS_keyctl, 0, 0, 0, 0, 0), EPERM);
    attempts.fails("init_module", ::syscall(SYS_init_module, nullptr, 0, ""), EPERM);
    attempts.fails("setuid", ::syscall(SYS_setuid, 0), EPERM);
    attempts.fails("packet socket", ::socket(AF_PACKET, SOCK_RAW, 0), EPERM);
    attempts.fails("vsock", ::socket(AF_VSOCK, SOCK_STREAM, 0), EPERM);
    attempts.fails("new code", map_with(PROT_READ | PROT_EXEC), EPERM);
    // The kernel looks at 32 bits of a request.
    for (const unsigned long above : {0UL, 1UL << 32U, 1UL << 63U}) {
        attempts.fails("typing into a terminal", ::ioctl(0, above | TIOCSTI, "x"), EPERM);
        attempts.fails("pasting into one", ::ioctl(0, above | TIOCLINUX, "\3"), EPERM);
        attempts.fails("taking a terminal", ::ioctl(-1, above | TIOCSCTTY, 0), EPERM);
        attempts.fails("signals for others", ::ioctl(-1, above | FIOSETOWN, nullptr), EPERM);
    }
    constexpr long kFchmodat2 = 452;
    attempts.fails("chmod", ::chmod("/nonexistent", 0600), EPERM);
    attempts.fails("fchmodat", ::fchmodat(AT_FDCWD, "/nonexistent", 0600, 0), EPERM);
    attempts.fails("fchmodat2", ::syscall(kFchmodat2, AT_FDCWD, "/nonexistent", 0600, 0), EPERM);
    for (const mode_t set_id : {mode_t{S_ISUID}, mode_t{S_ISGID}}) {
        attempts.fails("fchmod to a set-id program", ::fchmod(-1, 0700 | set_id), EPERM);
        attempts.fails("making a set-id program", ::open("/nonexistent/x", O_CREAT | O_WRONLY, 0700 | set_id), EPERM);
        attempts.fails("making one by open(2)",
                       ::syscall(SYS_open, "/nonexistent/x", O_CREAT | O_WRONLY, 0700 | set_id), EPERM);
    }
}

class Sandbox : public ::testing::Test {
  protected:
    void SetUp() override {
        if (!available()) {
            GTEST_SKIP() << "no sandbox in a build for a sanitizer";
        }
    }
};

TEST_F(Sandbox, NobodyStartsProgramsTouchesOthersOrMakesCode) {
    for (const Profile profile : {Profile::replica, Profile::gateway, Profile::arbiter}) {
        EXPECT_EQ(inside({profile, {}, false},
                         [] {
                             Attempts attempts;
                             try_what_nobody_may(attempts);
                             return attempts.said();
                         }),
                  "");
    }
}

TEST_F(Sandbox, ThreadsSocketsAndNamesAreThere) {
    for (const Profile profile : {Profile::replica, Profile::gateway, Profile::arbiter}) {
        EXPECT_EQ(inside({profile, resolver_files(), false},
                         [] {
                             Attempts attempts;
                             int worked = -1;
                             std::thread([&] { worked = 0; }).join();
                             attempts.works("a thread", worked);
                             const FileDescriptor listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
                             attempts.works("listen", ::listen(listening.get(), 1));
                             addrinfo* found = nullptr;
                             if (const int error = ::getaddrinfo("localhost", "80", nullptr, &found); error != 0) {
                                 return attempts.said() + ::gai_strerror(error);
                             }
                             ::freeaddrinfo(found);
                             attempts.works("memory", map_with(PROT_READ | PROT_WRITE));
                             return attempts.said();
                         }),
                  "");
    }
}

TEST_F(Sandbox, DevicesAreForReplicasAlone) {
    const auto ask = [] {
        Attempts attempts;
        constexpr unsigned long kKvmApiVersion = 0xAE00;
        attempts.fails("ioctl", ::ioctl(-1, kKvmApiVersion, 0), EPERM);
        return attempts.said();
    };
    EXPECT_EQ(inside({Profile::gateway, {}, false}, ask), "");
    EXPECT_EQ(inside({Profile::arbiter, {}, false}, ask), "");
    EXPECT_THAT(inside({Profile::replica, {}, false}, ask), HasSubstr("Bad file descriptor"));
}

// What is let through fails for want of a file.
void ask(Attempts& attempts, std::initializer_list<unsigned long> requests, int error) {
    for (const unsigned long request : requests) {
        attempts.fails(std::to_string(request).c_str(), ::ioctl(-1, request, nullptr), error);
    }
}

TEST_F(Sandbox, RequestsOfTerminalsTapsAndSocketsAreThoseThatAreNeeded) {
    for (const Profile profile : {Profile::replica, Profile::gateway, Profile::arbiter}) {
        EXPECT_EQ(inside({profile, {}, false},
                         [&] {
                             Attempts attempts;
                             ask(attempts, {FIONBIO, FIONREAD, TCGETS, TIOCGWINSZ, SIOCGIFINDEX, SIOCGIFNAME}, EBADF);
                             ask(attempts,
                                 {TCSETS, TIOCGPGRP, TUNSETIFF, TUNSETOFFLOAD, TUNSETVNETHDRSZ, SIOCGIFHWADDR,
                                  SIOCSIFHWADDR, SIOCSIFTXQLEN, SIOCDEVPRIVATE, SIOCBRADDIF, SIOCGIFFLAGS, SIOCSIFFLAGS,
                                  UFFDIO_API, UFFDIO_WRITEPROTECT},
                                 profile == Profile::replica ? EBADF : EPERM);
                             ask(attempts, {TUNSETOWNER, TUNSETPERSIST, SIOCSIFADDR, SIOCBRADDBR, TIOCSETD}, EPERM);
                             return attempts.said();
                         }),
                  "");
    }
}

TEST_F(Sandbox, AGuestsThreadHasNoFilesAndNoSockets) {
    const TemporaryDirectory directory;
    const auto file = directory.path() / "file";
    std::ofstream(file) << "text";
    EXPECT_EQ(inside({Profile::replica, {{file, Use::read}}, false},
                     [&] {
                         Attempts attempts;
                         const FileDescriptor open(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
                         attempts.works("open before", open.get());
                         std::thread([&] {
                             enter_guest_thread();
                             try_what_nobody_may(attempts);
                             attempts.fails("open", ::open(file.c_str(), O_RDONLY | O_CLOEXEC), EPERM);
                             attempts.fails("unlink", ::unlink(file.c_str()), EPERM);
                             attempts.fails("socket", ::socket(AF_INET, SOCK_STREAM, 0), EPERM);
                             attempts.fails("connect", ::connect(0, nullptr, 0), EPERM);
                             attempts.fails("sendto", ::sendto(0, "", 0, 0, nullptr, 0), EPERM);
                             attempts.fails("a terminal", ::ioctl(0, TIOCGWINSZ, nullptr), EPERM);
                             std::array<char, 4> bytes{};
                             attempts.works("read", ::read(open.get(), bytes.data(), bytes.size()));
                             attempts.works("memory", map_with(PROT_READ | PROT_WRITE));
                         }).join();
                         const FileDescriptor again(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
                         attempts.works("open in another thread", again.get());
                         return attempts.said();
                     }),
              "");
}

class SandboxedFiles : public Sandbox {
  protected:
    void SetUp() override {
        Sandbox::SetUp();
        if (IsSkipped()) {
            return;
        }
        if (!confines_files()) {
            GTEST_SKIP() << "this kernel has no Landlock";
        }
        for (const auto* name : {"read", "write", "other"}) {
            std::ofstream(path(name)) << "text";
        }
        for (const auto* name : {"folder", "keep", "sockets"}) {
            std::filesystem::create_directory(path(name));
        }
        std::ofstream(path("folder/file")) << "text";
        std::ofstream(path("keep/file")) << "text";
    }
    [[nodiscard]] std::string path(const std::string& name) const { return directory_.path() / name; }
    [[nodiscard]] long open(const std::string& name, int flags) const {
        return FileDescriptor(::open(path(name).c_str(), flags | O_CLOEXEC, 0600)).get();
    }
    [[nodiscard]] long bind(const std::string& name) const {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path(name).copy(static_cast<char*>(address.sun_path), sizeof address.sun_path - 1);
        const FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    }

    TemporaryDirectory directory_{"understudy-sandbox"};
};

TEST_F(SandboxedFiles, ThatAreNamedAreThereForTheirUseAndNoOther) {
    const Walls walls{Profile::replica,
                      {{path("read"), Use::read},
                       {path("folder"), Use::read},
                       {path("write"), Use::write},
                       {path("made"), Use::record},
                       {path("keep"), Use::keep},
                       {path("sockets"), Use::sockets},
                       {path("not there"), Use::read}},
                      false};
    EXPECT_EQ(inside(walls,
                     [&] {
                         Attempts attempts;
                         attempts.works("reading", open("read", O_RDONLY));
                         attempts.fails("writing what is read", open("read", O_RDWR), EACCES);
                         attempts.works("reading in a folder", open("folder/file", O_RDONLY));
                         attempts.fails("making in a folder", open("folder/new", O_CREAT | O_WRONLY), EACCES);
                         attempts.works("writing", open("write", O_RDWR));
                         attempts.works("recording", open("made", O_CREAT | O_TRUNC | O_WRONLY));
                         attempts.works("making", open("keep/new", O_CREAT | O_EXCL | O_RDWR));
                         attempts.works("renaming", ::rename(path("keep/new").c_str(), path("keep/newer").c_str()));
                         attempts.works("removing", ::unlink(path("keep/file").c_str()));
                         attempts.works("a socket", bind("sockets/s"));
                         attempts.works("its removal", ::unlink(path("sockets/s").c_str()));
                         attempts.fails("a file beside it", open("sockets/f", O_CREAT | O_WRONLY), EACCES);
                         attempts.fails("a socket elsewhere", bind("folder/s"), EACCES);
                         attempts.fails("another file", open("other", O_RDONLY), EACCES);
                         attempts.fails("listing", open("", O_RDONLY | O_DIRECTORY), EACCES);
                         attempts.fails("passwords", FileDescriptor(::open("/etc/passwd", O_RDONLY)).get(), EACCES);
                         attempts.fails("a symbolic link", ::symlink("/", path("keep/link").c_str()), EPERM);
                         attempts.fails("another name", ::link(path("read").c_str(), path("keep/name").c_str()), EPERM);
                         return attempts.said();
                     }),
              "");
}

// Emptying is writing, and the kernel does it for who opens a file to read it.
TEST_F(SandboxedFiles, ThatAreReadAreNotEmptied) {
    const Walls walls{Profile::replica, {{path("read"), Use::read}, {path("write"), Use::write}}, false};
    EXPECT_EQ(inside(walls,
                     [&] {
                         Attempts attempts;
                         attempts.fails("opening", open("read", O_RDONLY | O_TRUNC), EPERM);
                         attempts.fails("opening by open(2)",
                                        ::syscall(SYS_open, path("read").c_str(), O_RDONLY | O_TRUNC), EPERM);
                         attempts.fails("opening without an access mode", open("read", O_ACCMODE | O_TRUNC), EPERM);
                         attempts.fails("opening to write", open("read", O_WRONLY | O_TRUNC), EACCES);
                         attempts.fails("truncate", ::truncate(path("read").c_str(), 0), EPERM);
                         attempts.works("emptying what is written", open("write", O_WRONLY | O_TRUNC));
                         const FileDescriptor written(::open(path("write").c_str(), O_RDWR | O_TRUNC | O_CLOEXEC));
                         attempts.works("and opening it", written.get());
                         attempts.works("and lengthening it", ::ftruncate(written.get(), 1));
                         return attempts.said();
                     }),
              "");
    EXPECT_EQ(std::filesystem::file_size(path("read")), 4U);
    EXPECT_EQ(std::filesystem::file_size(path("write")), 1U);
}

// Another process's. By its path one is connected to: no right of Landlock's is about that.
TEST_F(SandboxedFiles, AbstractSocketsAreOutOfReach) {
    constexpr long kFirstWithScopes = 6;
    if (::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) < kFirstWithScopes) {
        GTEST_SKIP() << "this kernel's Landlock knows no scopes";
    }
    const FileDescriptor listening(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socklen_t length = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    ASSERT_EQ(::bind(listening.get(), generic, sizeof address.sun_family), 0);  // at a name of the kernel's choice
    ASSERT_EQ(::listen(listening.get(), 1), 0);
    ASSERT_EQ(::getsockname(listening.get(), generic, &length), 0);
    EXPECT_EQ(inside({Profile::arbiter, {}, false},
                     [&] {
                         Attempts attempts;
                         const FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
                         attempts.fails("connecting", ::connect(socket.get(), generic, length), EPERM);
                         return attempts.said();
                     }),
              "");
}

TEST_F(SandboxedFiles, ARecordThatCannotBeMadeIsNamed) {
    EXPECT_THAT(inside({Profile::replica, {{path("nowhere/log"), Use::record}}, false}, [] { return ""; }),
                HasSubstr("nowhere/log: No such file"));
}

// In a folder of another user's, which only root's capability opens to root; whose file it is then is root's.
TEST_F(SandboxedFiles, RootRecordsInAnothersFolder) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "needs root";
    }
    constexpr uid_t kAnother = 1000;
    for (const auto& [mode, kept] : {std::pair{0755, "0000000000000000"}, std::pair{0700, "0000000000000002"}}) {
        const std::string folder = "of-another-" + std::to_string(mode);
        std::filesystem::create_directory(path(folder));
        ASSERT_EQ(::chmod(path(folder).c_str(), static_cast<mode_t>(mode)), 0);
        ASSERT_EQ(::chown(path(folder).c_str(), kAnother, kAnother), 0);
        const std::vector<Path> paths = {{path(folder + "/log"), Use::record}, {"/proc/self", Use::read}};
        EXPECT_EQ(inside({Profile::gateway, paths, false},
                         [&] {
                             Attempts attempts;
                             attempts.works("recording", open(folder + "/log", O_CREAT | O_TRUNC | O_WRONLY));
                             return attempts.said() + status_line("CapEff");
                         }),
                  kept);
    }
}

TEST_F(Sandbox, TakesPrivilegesAway) {
    const auto tell = [] {
        rlimit core{};
        ::getrlimit(RLIMIT_CORE, &core);
        return status_line("CapPrm") + " " + status_line("CapEff") + " " + status_line("NoNewPrivs") + " " +
               std::to_string(core.rlim_max);
    };
    const std::vector<Path> proc = {{"/proc/self", Use::read}};
    for (const Profile profile : {Profile::gateway, Profile::arbiter}) {
        EXPECT_EQ(inside({profile, proc, false}, tell), "0000000000000000 0000000000000000 1 0");
    }
    const bool root = ::geteuid() == 0;
    EXPECT_EQ(inside({Profile::gateway, proc, true}, tell),
              root ? "0000000000001000 0000000000001000 1 0" : "0000000000000000 0000000000000000 1 0");
}

TEST_F(Sandbox, PortsOfTheHostsAreForWhoNamesThem) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "needs root";
    }
    constexpr int kPort = 81;
    int unprivileged = 0;
    if (std::ifstream("/proc/sys/net/ipv4/ip_unprivileged_port_start") >> unprivileged && unprivileged <= kPort) {
        GTEST_SKIP() << "this host has no privileged ports";
    }
    // At an address where nobody else listens.
    const auto bind = []() -> long {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(kPort);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 40);
        const FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    };
    for (const Profile profile : {Profile::replica, Profile::gateway, Profile::arbiter}) {
        EXPECT_EQ(inside({.profile = profile, .paths = {}, .makes_taps = false, .ports = {7000, kPort}},
                         [&] {
                             Attempts attempts;
                             attempts.works("a port of the host's", bind());
                             return attempts.said();
                         }),
                  "");
        EXPECT_EQ(inside({.profile = profile, .paths = {}, .makes_taps = false, .ports = {7000, 0}},
                         [&] {
                             Attempts attempts;
                             attempts.fails("a port of the host's", bind(), EACCES);
                             return attempts.said();
                         }),
                  "");
    }
}

}  // namespace
}  // namespace understudy::sandbox
