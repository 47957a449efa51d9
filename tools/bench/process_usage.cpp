#include "tools/bench/process_usage.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::tools {
namespace {

// Fields of proc(5)'s stat, in clock ticks; `waited_for`: of children.
struct Stat {
    pid_t parent = 0;
    double own = 0;
    double waited_for = 0;
};

std::optional<Stat> stat_of(pid_t process) {
    std::ifstream file(fmt::format("/proc/{}/stat", process));
    const std::string text(std::istreambuf_iterator<char>(file), {});
    const auto name_end = text.rfind(')');
    if (name_end == std::string::npos) {
        return std::nullopt;
    }
    std::istringstream fields(text.substr(name_end + 1));
    constexpr int kBetween = 9;  // of the parent and utime
    std::string skipped;
    Stat stat;
    fields >> skipped >> stat.parent;
    for (int i = 0; i < kBetween; ++i) {
        fields >> skipped;
    }
    double user = 0;
    double system = 0;
    double waited_user = 0;
    double waited_system = 0;
    fields >> user >> system >> waited_user >> waited_system;
    stat.own = user + system;
    stat.waited_for = waited_user + waited_system;
    return stat;
}

double seconds(double ticks) {
    return ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace

double processor_seconds(pid_t process) {
    const auto stat = stat_of(process);
    return stat ? seconds(stat->own) : 0;
}

std::uint64_t resident_kib(pid_t process) {
    std::ifstream file(fmt::format("/proc/{}/status", process));
    constexpr std::string_view kName = "VmRSS:";
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with(kName)) {
            return std::stoull(line.substr(kName.size()));
        }
    }
    return 0;
}

double processor_seconds_below(pid_t process) {
    std::map<pid_t, Stat> all;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
        const std::string name = entry.path().filename();
        pid_t id = 0;
        const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
        if (error == std::errc() && end == name.data() + name.size()) {
            if (const auto stat = stat_of(id)) {
                all[id] = *stat;
            }
        }
    }
    double ticks = 0;
    std::vector<pid_t> wanted = {process};
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        if (const auto found = all.find(wanted[i]); found != all.end()) {
            ticks += found->second.own + found->second.waited_for;
        }
        for (const auto& [id, stat] : all) {
            if (stat.parent == wanted[i] && std::ranges::find(wanted, id) == wanted.end()) {
                wanted.push_back(id);
            }
        }
    }
    return seconds(ticks);
}

}  // namespace understudy::tools
