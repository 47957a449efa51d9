#include "tools/report/machine.hpp"

#include <cpuid.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <sstream>
#include <utility>

namespace understudy::report {
namespace {

std::string processor_name() {
    std::ifstream in("/proc/cpuinfo");
    for (std::string line; std::getline(in, line);) {
        if (line.starts_with("model name")) {
            const auto colon = line.find(": ");
            return colon == std::string::npos ? "" : line.substr(colon + 2);
        }
    }
    return {};
}

// The leaf that hypervisors name themselves in.
std::string hypervisor_name() {
    constexpr unsigned kIsGuest = 1U << 31U;  // ECX of leaf 1
    constexpr unsigned kHypervisorLeaf = 0x40000000U;
    unsigned a = 0;
    std::array<unsigned, 3> name{};
    unsigned c = 0;
    unsigned d = 0;
    if (__get_cpuid(1, &a, name.data(), &c, &d) == 0 || (c & kIsGuest) == 0) {
        return {};
    }
    __cpuid(kHypervisorLeaf, a, name[0], name[1], name[2]);
    std::array<char, sizeof name + 1> text{};
    std::memcpy(text.data(), name.data(), sizeof name);
    std::string result;
    for (const char* at = text.data(); *at != '\0'; ++at) {
        result += *at >= ' ' && *at <= '~' ? std::string(1, *at) : "";
    }
    if (result == "KVMKVMKVM") {
        return "KVM";
    }
    return result.empty() ? "one without a name" : result;
}

double load_average() {
    double load = 0;
    return ::getloadavg(&load, 1) == 1 ? load : 0;
}

ProcessorTicks ticks_now() {
    std::ifstream file("/proc/stat");
    std::string line;
    std::getline(file, line);
    return processor_ticks(line);
}

}  // namespace

ProcessorTicks processor_ticks(std::string_view stat) {
    constexpr int kFields =
        8;  // user, nice, system, idle, iowait, irq, softirq, steal; guests' time is in the first two
    std::istringstream words{std::string(stat.substr(0, stat.find('\n')))};
    std::string name;
    ProcessorTicks ticks;
    words >> name;
    for (int i = 0; i < kFields && words >> ticks.stolen; ++i) {
        ticks.all += ticks.stolen;
    }
    return words && name == "cpu" ? ticks : ProcessorTicks{};
}

double stolen_percent(const ProcessorTicks& from, const ProcessorTicks& to) {
    return to.all > from.all ? 100 * (to.stolen - from.stolen) / (to.all - from.all) : 0;
}

void note_end(Machine& machine) {
    machine.load_at_end = load_average();
    machine.stolen_percent = stolen_percent(machine.ticks_at_start, ticks_now());
}

Machine describe_machine(std::string version, std::string kvm) {
    Machine machine;
    machine.version = std::move(version);
    machine.date = fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(std::time(nullptr)));
    machine.processor = processor_name();
    machine.cores = static_cast<unsigned>(::sysconf(_SC_NPROCESSORS_ONLN));
    struct sysinfo info {};
    if (::sysinfo(&info) == 0) {
        machine.memory_mib = static_cast<std::uint64_t>(info.totalram) * info.mem_unit >> 20U;
    }
    utsname name{};
    if (::uname(&name) == 0) {
        machine.kernel = fmt::format("{} {} {}", name.sysname, name.release, name.machine);
    }
    machine.kvm = std::move(kvm);
    machine.hypervisor = hypervisor_name();
    machine.load_at_start = load_average();
    machine.load_at_end = machine.load_at_start;
    machine.ticks_at_start = ticks_now();
    return machine;
}

}  // namespace understudy::report
