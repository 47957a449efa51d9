// System calls on who the process is: it starts as root and can become someone else. Nothing else depends on it.
#include <linux/capability.h>
#include <linux/limits.h>

#include <algorithm>
#include <cstring>

#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

constexpr std::uint32_t kUnchanged = ~0U;

struct Identity {
    std::uint32_t real = 0;
    std::uint32_t effective = 0;
    std::uint32_t saved = 0;

    [[nodiscard]] bool has(std::uint32_t id) const { return id == real || id == effective || id == saved; }
};

constinit Identity user;
constinit Identity group;
constexpr std::size_t kMaxGroups = 64;
std::uint32_t groups[kMaxGroups];
std::size_t group_count = 0;

bool is_root() {
    return user.effective == 0;
}

// May the process be `id` from now on?
bool allowed(const Identity& identity, std::uint32_t id) {
    return id == kUnchanged || is_root() || identity.has(id);
}

Result answer(const Identity& identity, std::uint32_t* real, std::uint32_t* effective, std::uint32_t* saved) {
    if (!accessible(real) || !accessible(effective) || !accessible(saved)) {
        return failure(EFAULT);
    }
    *real = identity.real;
    *effective = identity.effective;
    *saved = identity.saved;
    return 0;
}

Result set(Identity& identity, std::uint32_t id) {
    if (id == kUnchanged) {
        return failure(EINVAL);
    }
    if (!allowed(identity, id)) {
        return failure(EPERM);
    }
    identity = is_root() ? Identity{id, id, id} : Identity{identity.real, id, identity.saved};
    return 0;
}

Result set(Identity& identity, std::uint32_t real, std::uint32_t effective, std::uint32_t saved) {
    if (!allowed(identity, real) || !allowed(identity, effective) || !allowed(identity, saved)) {
        return failure(EPERM);
    }
    identity = {real == kUnchanged ? identity.real : real, effective == kUnchanged ? identity.effective : effective,
                saved == kUnchanged ? identity.saved : saved};
    return 0;
}

// setreuid: the saved id becomes the effective one when the real one is set, or the effective one to another.
Result set(Identity& identity, std::uint32_t real, std::uint32_t effective) {
    const bool follow = real != kUnchanged || (effective != kUnchanged && effective != identity.real);
    const std::uint32_t saved = effective == kUnchanged ? identity.effective : effective;
    return set(identity, real, effective, follow ? saved : kUnchanged);
}

}  // namespace

Result sys_getuid() {
    return user.real;
}
Result sys_geteuid() {
    return user.effective;
}
Result sys_getgid() {
    return group.real;
}
Result sys_getegid() {
    return group.effective;
}
Result sys_getresuid(std::uint32_t* real, std::uint32_t* effective, std::uint32_t* saved) {
    return answer(user, real, effective, saved);
}
Result sys_getresgid(std::uint32_t* real, std::uint32_t* effective, std::uint32_t* saved) {
    return answer(group, real, effective, saved);
}
Result sys_setuid(std::uint32_t id) {
    return set(user, id);
}
Result sys_setgid(std::uint32_t id) {
    return set(group, id);
}
Result sys_setreuid(std::uint32_t real, std::uint32_t effective) {
    return set(user, real, effective);
}
Result sys_setregid(std::uint32_t real, std::uint32_t effective) {
    return set(group, real, effective);
}
Result sys_setresuid(std::uint32_t real, std::uint32_t effective, std::uint32_t saved) {
    return set(user, real, effective, saved);
}
Result sys_setresgid(std::uint32_t real, std::uint32_t effective, std::uint32_t saved) {
    return set(group, real, effective, saved);
}
// The file system's user and group follow the effective ones.
Result sys_setfsuid() {
    return user.effective;
}
Result sys_setfsgid() {
    return group.effective;
}

Result sys_getgroups(int size, std::uint32_t* list) {
    if (size < 0 || (size != 0 && static_cast<std::size_t>(size) < group_count)) {
        return failure(EINVAL);
    }
    if (size != 0 && !accessible(list, sizeof groups[0] * group_count)) {
        return failure(EFAULT);
    }
    if (size != 0) {
        std::copy_n(groups, group_count, list);
    }
    return static_cast<std::int64_t>(group_count);
}

Result sys_setgroups(int size, const std::uint32_t* list) {
    if (!is_root()) {
        return failure(EPERM);
    }
    if (size < 0 || static_cast<std::size_t>(size) > kMaxGroups) {
        return failure(EINVAL);
    }
    if (!accessible(list, sizeof groups[0] * static_cast<std::size_t>(size))) {
        return failure(EFAULT);
    }
    group_count = static_cast<std::size_t>(size);
    std::copy_n(list, group_count, groups);
    return 0;
}

namespace {

// How many __user_cap_data_struct a version has; none: unknown, and the header tells the one that is known.
std::size_t capability_words(__user_cap_header_struct& header) {
    switch (header.version) {
        case _LINUX_CAPABILITY_VERSION_1:
            return _LINUX_CAPABILITY_U32S_1;
        case _LINUX_CAPABILITY_VERSION_2:
        case _LINUX_CAPABILITY_VERSION_3:
            return _LINUX_CAPABILITY_U32S_3;
        default:
            header.version = _LINUX_CAPABILITY_VERSION_3;
            return 0;
    }
}

}  // namespace

Result sys_capget(void* user_header, void* user_data) {
    auto* header = static_cast<__user_cap_header_struct*>(user_header);
    auto* data = static_cast<__user_cap_data_struct*>(user_data);
    if (!accessible(header)) {
        return failure(EFAULT);
    }
    const std::size_t words = capability_words(*header);
    if (words == 0 || data == nullptr) {
        return data == nullptr ? Result(0) : failure(EINVAL);
    }
    if (!accessible(data, words * sizeof *data)) {
        return failure(EFAULT);
    }
    const std::uint32_t all = is_root() ? ~0U : 0U;
    std::fill_n(data, words, __user_cap_data_struct{all, all, 0});
    return 0;
}

// Giving some up is accepted; nothing asks for them.
Result sys_capset(void* user_header, const void* data) {
    auto* header = static_cast<__user_cap_header_struct*>(user_header);
    if (!accessible(header)) {
        return failure(EFAULT);
    }
    const std::size_t words = capability_words(*header);
    if (words == 0) {
        return failure(EINVAL);
    }
    return accessible(data, words * sizeof(__user_cap_data_struct)) ? Result(0) : failure(EFAULT);
}

}  // namespace understudy::kernel
