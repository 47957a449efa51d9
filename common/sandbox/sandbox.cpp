#include "common/sandbox/sandbox.hpp"

#include <netdb.h>
#include <sys/prctl.h>

#include <cerrno>
#include <ctime>
#include <iterator>

#include "common/error.hpp"
#include "common/require.hpp"
#include "common/sandbox/walls.hpp"

namespace understudy::sandbox {
namespace fs = std::filesystem;
namespace {

std::size_t threads() {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator("/proc/self/task"), {}));
}

// What the C library loads when it is first used is loaded now: later it could not be.
void warm_up() {
    addrinfo* found = nullptr;
    if (::getaddrinfo("localhost", nullptr, nullptr, &found) == 0) {
        ::freeaddrinfo(found);
    }
    ::tzset();
}

}  // namespace

bool available() {
    return !UNDERSTUDY_SANITIZED;
}

std::string enter(const Walls& walls) {
    if (!available()) {
        return {};
    }
    require(threads() == 1, "a sandbox is entered by a process of one thread");
    warm_up();
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        throw Error::from_errno("cannot give up new privileges", errno);
    }
    make_records(walls.paths);
    drop_privileges(walls);
    const bool confined = confine_files(walls.paths);
    limit_resources();
    filter_system_calls(walls.profile);
    return confined ? std::string()
                    : "this kernel has no Landlock: the sandbox leaves every file open that its user may open";
}

std::vector<Path> resolver_files() {
    std::vector<Path> paths;
    for (const auto* file : {"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf",
                             "/etc/services", "/etc/localtime", "/usr/share/zoneinfo"}) {
        paths.push_back({file, Use::read});
    }
    // Where it is a link into a folder of its own, the file is replaced by another when the network changes.
    std::error_code error;
    const auto resolv = fs::canonical("/etc/resolv.conf", error);
    if (!error && resolv.parent_path() != "/etc") {
        paths.push_back({resolv.parent_path(), Use::read});
    }
    return paths;
}

}  // namespace understudy::sandbox
