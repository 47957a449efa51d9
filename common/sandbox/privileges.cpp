#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <fstream>

#include "common/error.hpp"
#include "common/sandbox/walls.hpp"

namespace understudy::sandbox {
namespace {

struct Capabilities {
    std::uint64_t effective = 0;
    std::uint64_t permitted = 0;
};

constexpr std::uint64_t bit(unsigned capability) {
    return std::uint64_t{1} << capability;
}

__user_cap_header_struct header() {
    return {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
}

Capabilities present() {
    auto head = header();
    std::array<__user_cap_data_struct, 2> data{};
    if (::syscall(SYS_capget, &head, data.data()) != 0) {
        throw Error::from_errno("cannot read capabilities", errno);
    }
    return {data[0].effective | std::uint64_t{data[1].effective} << 32U,
            data[0].permitted | std::uint64_t{data[1].permitted} << 32U};
}

void set(const Capabilities& capabilities) {
    auto head = header();
    std::array<__user_cap_data_struct, 2> data{};
    data[0].effective = static_cast<std::uint32_t>(capabilities.effective);
    data[0].permitted = static_cast<std::uint32_t>(capabilities.permitted);
    data[1].effective = static_cast<std::uint32_t>(capabilities.effective >> 32U);
    data[1].permitted = static_cast<std::uint32_t>(capabilities.permitted >> 32U);
    if (::syscall(SYS_capset, &head, data.data()) != 0) {
        throw Error::from_errno("cannot drop capabilities", errno);
    }
}

int mode_of(const Path& path) {
    std::error_code ignored;
    const bool folder = std::filesystem::is_directory(path.path, ignored);
    switch (path.use) {
        case Use::read:
            return folder ? R_OK | X_OK : R_OK;
        case Use::write:
            return folder ? R_OK | X_OK : R_OK | W_OK;
        case Use::record:
            return W_OK;
        case Use::sockets:
        case Use::keep:
            break;
    }
    return W_OK | X_OK;
}

bool accessible(const Path& path) {
    return ::faccessat(AT_FDCWD, path.path.c_str(), mode_of(path), AT_EACCESS) == 0 || errno != EACCES;
}

// Root reads what is another's only by a capability. Asked without any.
bool needs_override(const std::vector<Path>& paths) {
    for (const Path& path : paths) {
        if (!accessible(path)) {
            return true;
        }
    }
    return false;
}

// Below which of its ports the host asks for a privilege.
int unprivileged_ports() {
    int first = IPPORT_RESERVED;
    std::ifstream("/proc/sys/net/ipv4/ip_unprivileged_port_start") >> first;
    return first;
}

bool listens_privileged(const std::vector<std::uint16_t>& ports) {
    const int unprivileged = unprivileged_ports();
    return std::ranges::any_of(ports, [&](std::uint16_t port) { return port != 0 && port < unprivileged; });
}

}  // namespace

void drop_privileges(const Walls& walls) {
    const Capabilities before = present();
    ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    set({0, before.permitted});
    std::uint64_t kept = 0;
    if (needs_override(walls.paths)) {
        kept |= bit(CAP_DAC_OVERRIDE);
    }
    if (walls.makes_taps) {
        kept |= bit(CAP_NET_ADMIN);
    }
    if (listens_privileged(walls.ports)) {
        kept |= bit(CAP_NET_BIND_SERVICE);
    }
    if (walls.profile == Profile::replica) {
        kept |= bit(CAP_SYS_NICE);  // who serves a guest's page faults goes first
        if (::access("/dev/userfaultfd", R_OK | W_OK) != 0) {
            kept |= bit(CAP_SYS_PTRACE);  // what userfaultfd(2) wants instead; the filter has no ptrace(2)
        }
    }
    kept &= before.permitted;
    set({kept, kept});
}

void limit_resources() {
    const rlimit none{0, 0};
    rlimit descriptors{};
    ::getrlimit(RLIMIT_NOFILE, &descriptors);
    descriptors.rlim_max = descriptors.rlim_cur;
    if (::setrlimit(RLIMIT_CORE, &none) != 0 || ::setrlimit(RLIMIT_NOFILE, &descriptors) != 0) {
        throw Error::from_errno("cannot lower resource limits", errno);
    }
}

}  // namespace understudy::sandbox
