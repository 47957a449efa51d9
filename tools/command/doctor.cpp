// `understudy doctor`: what this host can do, and what to install or permit.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/auxv.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "common/sandbox/sandbox.hpp"
#include "hypervisor/engine/kvm/probe.hpp"
#include "hypervisor/memory/memory_snapshot.hpp"
#include "tools/command/commands.hpp"
#include "tools/output/json.hpp"
#include "tools/vm/vm_description.hpp"

namespace understudy::tools {
namespace {

// One line of the diagnosis. Without what is `missing` no guest runs; without what is `limited` something else does
// not.
struct Check {
    enum class State { ok, limited, missing };
    std::string name;
    State state = State::ok;
    std::string finding;
    std::string advice{};  // what to do, where there is something to do
};

using State = Check::State;

std::string_view name_of(State state) {
    switch (state) {
        case State::ok:
            return "ok";
        case State::limited:
            return "limited";
        case State::missing:
            return "missing";
    }
    return "";
}

Check check_kernel() {
    utsname name{};
    ::uname(&name);
    return {"kernel", State::ok, fmt::format("{} {} {}", name.sysname, name.release, name.machine)};
}

Check check_user() {
    if (::geteuid() == 0) {
        return {"user", State::ok, "root"};
    }
    return {"user", State::ok, fmt::format("uid {}, not root: enough for everything but taps", ::geteuid())};
}

// The guest's fixed CPU is x86-64-v2, and its thread pointer is set without a system call.
Check check_cpu() {
    constexpr unsigned long kFsgsbase = 1U << 1U;  // of AT_HWCAP2
    __builtin_cpu_init();
    std::vector<std::string> lacking;
    const auto need = [&](bool present, const char* feature) {
        if (!present) {
            lacking.emplace_back(feature);
        }
    };
    need(__builtin_cpu_supports("sse3") != 0, "sse3");
    need(__builtin_cpu_supports("ssse3") != 0, "ssse3");
    need(__builtin_cpu_supports("sse4.1") != 0, "sse4.1");
    need(__builtin_cpu_supports("sse4.2") != 0, "sse4.2");
    need(__builtin_cpu_supports("popcnt") != 0, "popcnt");
    need((::getauxval(AT_HWCAP2) & kFsgsbase) != 0, "fsgsbase");
    if (lacking.empty()) {
        return {"processor", State::ok, "x86-64-v2 with fsgsbase"};
    }
    return {"processor", State::missing, fmt::format("lacks {}", fmt::join(lacking, ", ")),
            "use a processor of 2012 or later and Linux 5.9 or later"};
}

Check check_cores() {
    const long cores = ::sysconf(_SC_NPROCESSORS_ONLN);
    if (cores >= 2) {
        return {"cores", State::ok, fmt::format("{}", cores)};
    }
    return {"cores", State::limited, "1", "primary and backup of a demonstration share it: expect long pauses"};
}

// A backup joins while the guest runs on, where its memory can be write-protected.
Check check_joins() {
    if (memory::can_protect_memory()) {
        return {"joining", State::ok, "userfaultfd with write protection: a guest runs on while a backup joins"};
    }
    return {"joining", State::limited, "no userfaultfd: a guest waits for a copy of its memory when a backup joins",
            "run as root, or as root: sysctl vm.unprivileged_userfaultfd=1, or give permission for /dev/userfaultfd"};
}

// What confines replicas, gateways and arbiters.
Check check_sandbox() {
    if (sandbox::confines_files()) {
        return {"sandbox", State::ok, "seccomp, and Landlock for files"};
    }
    return {"sandbox", State::limited, "no Landlock: a process that was broken into has all files of its user",
            "use Linux 5.13 or later, with landlock among lsm= of its command line"};
}

Check check_memory() {
    struct sysinfo info {};
    ::sysinfo(&info);
    const auto free_mib = (static_cast<std::uint64_t>(info.freeram) + info.bufferram) * info.mem_unit >> 20U;
    if (free_mib >= 256) {
        return {"memory", State::ok, fmt::format("{} MiB free at least", free_mib)};
    }
    return {"memory", State::limited, fmt::format("{} MiB free", free_mib),
            "a guest has its memory as it uses it: free some, or choose a smaller --memory"};
}

Check check_kvm_device(const engine::KvmProbe& probe) {
    switch (probe.open_error) {
        case 0:
            return {"/dev/kvm", State::ok, "readable and writable"};
        case ENOENT:
        case ENODEV:
        case ENXIO:
            return {"/dev/kvm", State::missing, "does not exist",
                    "modprobe kvm_intel or kvm_amd; in a VM, permit nested virtualization on its host; else enable "
                    "virtualization in the firmware"};
        case EACCES:
        case EPERM:
            return {"/dev/kvm", State::missing, "no permission",
                    "as root: setfacl -m u:NAME:rw /dev/kvm, or usermod -aG kvm NAME where the device belongs to that "
                    "group"};
        default:
            return {"/dev/kvm", State::missing, std::strerror(probe.open_error), "see dmesg"};
    }
}

void check_kvm(std::vector<Check>& checks) {
    const engine::KvmProbe probe = engine::probe_kvm();
    checks.push_back(check_kvm_device(probe));
    if (probe.open_error != 0) {
        return;
    }
    const std::string flavour = probe.flavour.empty() ? "flavour unknown" : probe.flavour;
    if (probe.create_error == 0) {
        checks.push_back({"engine", State::ok, fmt::format("kvm, API {}, {}", probe.api_version, flavour)});
    } else {
        checks.push_back(
            {"engine", State::missing,
             fmt::format("KVM ({}) refuses a VM with one vCPU: {}", flavour, std::strerror(probe.create_error)),
             probe.create_error == EBUSY ? "another hypervisor uses the processor: unload it" : "see dmesg"});
    }
    for (const engine::KvmCapability& capability : probe.capabilities) {
        checks.push_back({capability.name, capability.present ? State::ok : State::missing, capability.purpose,
                          capability.present ? "" : "use Linux 4.18 or later"});
    }
}

Check check_guest_kernel() {
    const std::filesystem::path kernel = default_kernel_path();
    std::error_code ignored;
    if (std::filesystem::exists(kernel, ignored)) {
        return {"guest kernel", State::ok, kernel.string()};
    }
    return {"guest kernel", State::missing, kernel.string() + " does not exist", "build it with ./run build"};
}

Check check_linux_guest() {
    const LinuxFiles files = default_linux_files();
    std::error_code ignored;
    for (const auto& file : {files.kernel, files.layer, files.init}) {
        if (!std::filesystem::exists(file, ignored)) {
            return {"Linux guest", State::limited, file.string() + " does not exist", "build it with ./run build"};
        }
    }
    return {"Linux guest", State::ok, fmt::format("Linux {}", linux_release(files).value_or("of no known version"))};
}

Check check_tun() {
    const int fd = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    const int error = errno;
    if (fd >= 0) {
        ::close(fd);
    }
    if (fd >= 0 && ::geteuid() == 0) {
        return {"taps", State::ok, "/dev/net/tun, and root"};
    }
    if (fd >= 0) {
        return {
            "taps", State::limited, "/dev/net/tun opens; making a tap needs root",
            "have root make one for you: ip tuntap add NAME mode tap user $USER; ip link set NAME master BRIDGE up; "
            "or use understudy gateway"};
    }
    return {"taps", State::limited, fmt::format("/dev/net/tun: {}", std::strerror(error)),
            "modprobe tun; or use understudy gateway, which needs none"};
}

bool in_path(std::string_view program) {
    const char* const path = std::getenv("PATH");
    std::istringstream folders(path == nullptr ? "/usr/bin:/bin" : path);
    for (std::string folder; std::getline(folders, folder, ':');) {
        if (::access((std::filesystem::path(folder) / program).c_str(), X_OK) == 0) {
            return true;
        }
    }
    // Debian keeps these out of the path of who is not root.
    return ::access((std::filesystem::path("/usr/sbin") / program).c_str(), X_OK) == 0;
}

void check_programs(std::vector<Check>& checks) {
    struct Program {
        std::string_view name;
        std::string_view package;
        std::string_view purpose;
    };
    constexpr std::array kPrograms = {
        Program{"redis-benchmark", "redis-tools", "load for the demonstration and the benchmarks"},
        Program{"redis-cli", "redis-tools", "talking with the kv guest"},
        Program{"etcd", "etcd-server", "the tests of the etcd arbiter"},
        Program{"ip", "iproute2", "bridges and taps"},
        Program{"nft", "nftables", "the tests with partitions"},
        Program{"mmdebstrap", "mmdebstrap", "images from packages"},
        Program{"mkfs.erofs", "erofs-utils", "images"},
    };
    for (const Program& program : kPrograms) {
        const bool found = in_path(program.name);
        checks.push_back({std::string(program.name), found ? State::ok : State::limited, std::string(program.purpose),
                          found ? "" : fmt::format("apt-get install {}", program.package)});
    }
}

std::vector<Check> diagnose() {
    std::vector<Check> checks{check_kernel(), check_user(),  check_cpu(),    check_cores(),
                              check_memory(), check_joins(), check_sandbox()};
    check_kvm(checks);
    checks.push_back(check_guest_kernel());
    checks.push_back(check_linux_guest());
    checks.push_back(check_tun());
    check_programs(checks);
    return checks;
}

bool can_run_a_guest(const std::vector<Check>& checks) {
    return std::ranges::none_of(checks, [](const Check& check) { return check.state == State::missing; });
}

std::string to_json(const std::vector<Check>& checks) {
    std::string list;
    for (const Check& check : checks) {
        list += fmt::format(R"({}{{"name":{},"state":"{}","finding":{},"advice":{}}})", list.empty() ? "" : ",",
                            json_string(check.name), name_of(check.state), json_string(check.finding),
                            json_string(check.advice));
    }
    return fmt::format(R"({{"checks":[{}],"ok":{}}})", list, can_run_a_guest(checks));
}

std::string to_text(const std::vector<Check>& checks) {
    std::string text;
    for (const Check& check : checks) {
        text += fmt::format("{:<8}  {:<22}  {}\n", name_of(check.state), check.name, check.finding);
        if (!check.advice.empty()) {
            text += fmt::format("{:<8}  {:<22}  -> {}\n", "", "", check.advice);
        }
    }
    return text + (can_run_a_guest(checks) ? "\nA guest can run here.\n"
                                           : "\nNo guest can run here until what is missing is there.\n");
}

}  // namespace

Command add_doctor(CLI::App& root) {
    CLI::App* app = root.add_subcommand("doctor", "What this host can do, and what to install or permit");
    const auto json = std::make_shared<bool>(false);
    app->add_flag("--json", *json, "Print one JSON object");
    app->footer("Exit status 0 only when a guest can run.\n\nExample:\n  understudy doctor");
    return {app, [json] {
                const std::vector<Check> checks = diagnose();
                fmt::print("{}{}", *json ? to_json(checks) : to_text(checks), *json ? "\n" : "");
                return can_run_a_guest(checks) ? 0 : 1;
            }};
}

}  // namespace understudy::tools
