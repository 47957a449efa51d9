#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "common/error.hpp"
#include "common/file_descriptor.hpp"
#include "common/sandbox/walls.hpp"

namespace understudy::sandbox {
namespace {

// Of Landlock's first version, which every later one has, and of the third.
constexpr std::uint64_t kFirstRights = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1U) - 1;
constexpr std::uint64_t kTruncate = std::uint64_t{1} << 14U;  // a name that headers of an age do not have
constexpr std::uint64_t kReading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t kSockets = LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE;
constexpr std::uint64_t kWriting = kReading | LANDLOCK_ACCESS_FS_WRITE_FILE | kTruncate;
constexpr std::uint64_t kKeeping = kWriting | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |
                                   LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR;
// Those that a rule about a file may name.
constexpr std::uint64_t kOfFiles =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE | kTruncate;

// The kernel's, which headers of an age do not have whole; an older kernel takes it where what it does not know is 0.
struct Ruleset {
    std::uint64_t files = 0;
    std::uint64_t ports = 0;
    std::uint64_t scopes = 0;
};

long version() {
    return ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

// What this kernel knows: it refuses rules about more.
Ruleset all_rights() {
    constexpr long kFirstThatTruncates = 3;
    constexpr long kFirstWithScopes = 6;
    constexpr std::uint64_t kAbstractSockets = 1;
    const long known = version();
    return {.files = known < kFirstThatTruncates ? kFirstRights : kFirstRights | kTruncate,
            .ports = 0,
            .scopes = known < kFirstWithScopes ? 0 : kAbstractSockets};
}

std::uint64_t rights_of(Use use) {
    switch (use) {
        case Use::read:
            return kReading;
        case Use::write:
        case Use::record:
            return kWriting;
        case Use::sockets:
            return kSockets;
        case Use::keep:
            break;
    }
    return kKeeping;
}

void allow(int ruleset, std::uint64_t handled, const Path& path) {
    const FileDescriptor beneath(::open(path.path.c_str(), O_PATH | O_CLOEXEC));
    struct stat status {};
    if (!beneath || ::fstat(beneath.get(), &status) != 0) {
        return;
    }
    landlock_path_beneath_attr rule{};
    rule.parent_fd = beneath.get();
    rule.allowed_access = rights_of(path.use) & handled & (S_ISDIR(status.st_mode) ? ~std::uint64_t{0} : kOfFiles);
    if (rule.allowed_access != 0 &&
        ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) {
        throw Error::from_errno("cannot let the sandbox have " + path.path.string(), errno);
    }
}

}  // namespace

void make_records(const std::vector<Path>& paths) {
    for (const Path& path : paths) {
        if (path.use == Use::record &&
            !FileDescriptor(::open(path.path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600))) {
            throw Error::from_errno("cannot write " + path.path.string(), errno);
        }
    }
}

bool confines_files() {
    return version() > 0;
}

bool confine_files(const std::vector<Path>& paths) {
    if (!confines_files()) {
        return false;
    }
    const Ruleset attributes = all_rights();
    const FileDescriptor ruleset(
        static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0)));
    if (!ruleset) {
        throw Error::from_errno("cannot make rules for files", errno);
    }
    for (const Path& path : paths) {
        allow(ruleset.get(), attributes.files, path);
    }
    if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) {
        throw Error::from_errno("cannot confine files", errno);
    }
    return true;
}

}  // namespace understudy::sandbox
