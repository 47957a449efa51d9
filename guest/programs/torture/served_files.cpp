// A file system that a program serves (FUSE), and which answers late.
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <optional>
#include <string>

#include "guest/programs/torture/caught.hpp"

namespace understudy::torture {
namespace {

constexpr const char* kFolder = "/tmp/served";
constexpr const char* kFile = "/tmp/served/code";
constexpr std::uint64_t kFileNode = 2;
constexpr std::size_t kFileSize = 2 * kPage;
constexpr std::array<std::uint8_t, 6> kCode = {0xb8, 0x2a, 0x00, 0x00, 0x00, 0xc3};  // mov eax, 42; ret

// One file of two pages, with a function at its start.
class FileServer {
  public:
    FileServer() : device_(open("/dev/fuse", O_RDWR | O_CLOEXEC)) {
        expect(device_ >= 0, "/dev/fuse can be opened");
        mkdir("/tmp", 0755);
        mkdir(kFolder, 0755);
        const std::string options =
            "fd=" + std::to_string(device_) + ",rootmode=40000,user_id=0,group_id=0,default_permissions";
        expect(mount("served", kFolder, "fuse", MS_NODEV | MS_NOSUID, options.c_str()) == 0, "mount of FUSE");
    }
    ~FileServer() {
        umount2(kFolder, MNT_DETACH);
        close(device_);
        rmdir(kFolder);
    }
    FileServer(const FileServer&) = delete;
    FileServer& operator=(const FileServer&) = delete;

    // Answers one request if one comes in time; but the first look at the second page waits for answer_held().
    void serve(int milliseconds) {
        pollfd readable{.fd = device_, .events = POLLIN, .revents = 0};
        alignas(fuse_in_header) std::array<char, 8 * kPage> request{};
        if (poll(&readable, 1, milliseconds) == 1 && read(device_, request.data(), request.size()) > 0) {
            fuse_in_header header{};
            std::memcpy(&header, request.data(), sizeof header);
            answer(header, request.data() + sizeof header);
        }
    }
    [[nodiscard]] bool holds_answer() const { return held_.has_value(); }
    void answer_held() {
        if (held_) {
            reply(*held_, zeros_.data(), kPage);
            held_.reset();
        }
        may_hold_ = false;
    }

  private:
    void reply(std::uint64_t request, const void* data, std::size_t size, int error = 0) {
        std::array<char, sizeof(fuse_out_header) + kFileSize> message{};
        const fuse_out_header header{
            .len = static_cast<std::uint32_t>(sizeof header + size), .error = -error, .unique = request};
        std::memcpy(message.data(), &header, sizeof header);
        if (size > 0) {
            std::memcpy(message.data() + sizeof header, data, size);
        }
        // Fails where whoever asked has been killed.
        (void)!write(device_, message.data(), header.len);
    }
    static fuse_attr attributes(std::uint64_t node) {
        fuse_attr result{};
        result.ino = node;
        result.nlink = 1;
        result.mode = node == kFileNode ? S_IFREG | 0755 : S_IFDIR | 0755;
        result.size = node == kFileNode ? kFileSize : 0;
        return result;
    }
    void answer_read(std::uint64_t request, const fuse_read_in& wanted) {
        if (wanted.offset >= kPage && may_hold_) {
            held_ = request;
            return;
        }
        std::array<std::uint8_t, kPage> page{};
        if (wanted.offset == 0) {
            std::copy(kCode.begin(), kCode.end(), page.begin());
        }
        reply(request, page.data(), page.size());
    }
    void answer(const fuse_in_header& header, const char* argument) {
        switch (header.opcode) {
            case FUSE_INIT: {
                fuse_init_out out{};
                out.major = FUSE_KERNEL_VERSION;
                out.minor = 31;
                out.max_write = kPage;
                reply(header.unique, &out, sizeof out);
                break;
            }
            case FUSE_LOOKUP: {
                fuse_entry_out out{};
                out.nodeid = kFileNode;
                out.attr = attributes(kFileNode);
                out.entry_valid = out.attr_valid = 60;
                reply(header.unique, &out, sizeof out);
                break;
            }
            case FUSE_GETATTR: {
                fuse_attr_out out{};
                out.attr = attributes(header.nodeid);
                out.attr_valid = 60;
                reply(header.unique, &out, sizeof out);
                break;
            }
            case FUSE_OPEN: {
                const fuse_open_out out{};
                reply(header.unique, &out, sizeof out);
                break;
            }
            case FUSE_READ: {
                fuse_read_in wanted{};
                std::memcpy(&wanted, argument, sizeof wanted);
                answer_read(header.unique, wanted);
                break;
            }
            case FUSE_FORGET:
            case FUSE_BATCH_FORGET:
            case FUSE_INTERRUPT:
                break;  // no answer
            case FUSE_FLUSH:
            case FUSE_RELEASE:
                reply(header.unique, nullptr, 0);
                break;
            default:
                reply(header.unique, nullptr, 0, ENOSYS);
        }
    }

    int device_;
    bool may_hold_ = true;
    std::optional<std::uint64_t> held_;  // a request
    std::array<std::uint8_t, kPage> zeros_{};
};

int call(const std::uint8_t* code) {
    return reinterpret_cast<int (*)()>(const_cast<std::uint8_t*>(code))();
}

template <typename Action>
pid_t in_a_child(const Action& action) {
    const pid_t child = fork();
    expect(child >= 0, "fork");
    if (child == 0) {
        _exit(action());
    }
    return child;
}

int runs_the_file() {
    const int file = open(kFile, O_RDONLY | O_CLOEXEC);
    expect(file >= 0, "the served file can be opened");
    const Pages pages(kFileSize, PROT_READ | PROT_EXEC, MAP_PRIVATE, file);
    madvise(pages.data(), pages.size(), MADV_RANDOM);  // the first page alone is fetched
    return call(pages.data());
}

int runs_something_new() {
    const Pages page(kPage, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS);
    std::copy(kCode.begin(), kCode.end(), page.data());
    return call(page.data());
}

// Waits a minute at most, of the guest's, serving all the while. The status, or -1.
int status_of(pid_t child, FileServer& server) {
    for (int i = 0; i < 6000; ++i) {
        int status = 0;
        if (waitpid(child, &status, WNOHANG) == child) {
            return status;
        }
        server.serve(10);
    }
    return -1;
}

// Before code runs the kernel looks at what lies around it, which it may have to ask a program for.
void late_answer(Context& context) {
    FileServer server;
    const pid_t waiting = in_a_child(runs_the_file);
    while (!server.holds_answer()) {
        server.serve(10);
        expect(waitpid(waiting, nullptr, WNOHANG) == 0, "nothing runs before what lies behind it was looked at");
    }
    const bool killed = context.random.one_in(4);
    if (killed) {
        kill(waiting, SIGKILL);
    }
    expect(status_of(in_a_child(runs_something_new), server) == 42 << 8, "a new program runs while another one waits");
    server.answer_held();
    expect(status_of(waiting, server) == (killed ? SIGKILL : 42 << 8), "who has waited runs");
    expect(status_of(in_a_child(runs_the_file), server) == 42 << 8, "and whoever comes next");
}

constexpr std::array kOperations = {
    Operation{"late-answer", late_answer},
};

}  // namespace

std::span<const Operation> served_file_operations() {
    return kOperations;
}

}  // namespace understudy::torture
