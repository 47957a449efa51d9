#include "hypervisor/memory/headroom.hpp"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

namespace understudy::memory {
namespace {

namespace fs = std::filesystem;

// The number behind `name` in a file of lines "name number".
std::optional<std::uint64_t> field(const fs::path& file, std::string_view name) {
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) {
        std::string word;
        std::uint64_t value = 0;
        if (std::istringstream words(line); words >> word >> value && word == name) {
            return value;
        }
    }
    return std::nullopt;
}

// Nothing, too, for "max".
std::optional<std::uint64_t> number(const fs::path& file) {
    std::ifstream in(file);
    std::uint64_t value = 0;
    if (in >> value) {
        return value;
    }
    return std::nullopt;
}

// What one control group leaves. Its use counts the page cache, of which the kernel takes back what is not active.
std::optional<std::uint64_t> left_in(const fs::path& group, const char* limit, const char* use, const char* inactive) {
    const auto most = number(group / limit);
    const auto used = number(group / use);
    if (!most || !used) {
        return std::nullopt;
    }
    const std::uint64_t reclaimable = field(group / "memory.stat", inactive).value_or(0);
    const std::uint64_t held = *used - std::min(*used, reclaimable);
    return *most - std::min(*most, held);
}

// The groups that /proc/self/cgroup names ("0::/a/b", "5:memory:/a/b"), each with those above it.
void narrow_by_groups(const fs::path& root, std::uint64_t& left) {
    std::ifstream in(root / "proc/self/cgroup");
    for (std::string line; std::getline(in, line);) {
        const auto controllers = line.find(':');
        const auto path = line.find(':', controllers + 1);
        if (controllers == std::string::npos || path == std::string::npos) {
            continue;
        }
        const bool unified = path == controllers + 1;
        if (!unified && line.substr(controllers + 1, path - controllers - 1) != "memory") {
            continue;
        }
        const fs::path base = root / (unified ? "sys/fs/cgroup" : "sys/fs/cgroup/memory");
        fs::path below = fs::path(line.substr(path + 1)).relative_path();
        for (;;) {
            const auto here = unified ? left_in(base / below, "memory.max", "memory.current", "inactive_file")
                                      : left_in(base / below, "memory.limit_in_bytes", "memory.usage_in_bytes",
                                                "total_inactive_file");
            left = std::min(left, here.value_or(left));
            if (below.empty()) {
                break;
            }
            below = below.parent_path();
        }
    }
}

}  // namespace

std::optional<Bytes> memory_headroom(const fs::path& root) {
    const auto available = field(root / "proc/meminfo", "MemAvailable:");
    if (!available) {
        return std::nullopt;
    }
    std::uint64_t left = *available << 10U;  // it counts KiB
    narrow_by_groups(root, left);
    return Bytes{left};
}

}  // namespace understudy::memory
