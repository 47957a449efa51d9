#include "tools/image/debian.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <regex>
#include <sstream>
#include <system_error>

#include "common/error.hpp"
#include "tools/image/image_cache.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;

// systemd as the first program, its device manager (a console's getty waits for the device), and its bus.
constexpr std::array kSystemdPackages = {"systemd-sysv", "udev", "dbus"};

std::vector<std::string> errors_in(const std::string& text) {
    std::vector<std::string> errors;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("E: ")) {
            errors.push_back(line.substr(3));
        }
    }
    return errors;
}

[[noreturn]] void refuse(const Finished& apt) {
    const auto errors = errors_in(apt.errors);
    const bool unknown = std::ranges::any_of(errors, [](const std::string& error) {
        return error.starts_with("Unable to locate") || error.find("no installation candidate") != std::string::npos ||
               error.find("was not found") != std::string::npos;
    });
    const std::string said = fmt::format("{}", fmt::join(errors, "; "));
    if (unknown) {
        throw Error::format(
            "{} (apt-cache search WORD finds names; as root, apt-get update brings apt's lists up to date)", said);
    }
    throw Error::format("apt cannot install that: {}", said.empty() ? apt.errors.substr(0, 500) : said);
}

// Names, lengths and times of the files below a directory.
std::string state_of(const fs::path& directory) {
    std::vector<std::string> lines;
    std::error_code ignored;
    constexpr auto kOptions = fs::directory_options::skip_permission_denied;
    for (auto it = fs::recursive_directory_iterator(directory, kOptions, ignored);
         it != fs::recursive_directory_iterator(); it.increment(ignored)) {
        if (it->is_regular_file(ignored)) {
            lines.push_back(fmt::format("{} {} {}", it->path().string(), it->file_size(ignored),
                                        it->last_write_time(ignored).time_since_epoch().count()));
        }
    }
    std::ranges::sort(lines);
    return fmt::format("{}\n", fmt::join(lines, "\n"));
}

}  // namespace

std::vector<fs::path> apt_sources(const fs::path& etc) {
    std::vector<fs::path> sources;
    std::error_code ignored;
    if (fs::is_regular_file(etc / "sources.list", ignored) && fs::file_size(etc / "sources.list", ignored) > 0) {
        sources.push_back(etc / "sources.list");
    }
    std::vector<fs::path> parts;
    for (const auto& entry : fs::directory_iterator(etc / "sources.list.d", ignored)) {
        const auto ending = entry.path().extension();
        if ((ending == ".list" || ending == ".sources") && entry.is_regular_file(ignored)) {
            parts.push_back(entry.path());
        }
    }
    std::ranges::sort(parts);
    sources.insert(sources.end(), parts.begin(), parts.end());
    if (sources.empty()) {
        throw Error::format(
            "apt has no sources here ({}/sources.list*): name what to take with --suite, for example "
            "--suite bookworm",
            etc.string());
    }
    return sources;
}

std::vector<std::string> named_packages(const ImageRequest& request) {
    std::vector<std::string> packages = request.packages;
    if (request.systemd) {
        packages.insert(packages.end(), kSystemdPackages.begin(), kSystemdPackages.end());
    }
    std::ranges::sort(packages);
    packages.erase(std::unique(packages.begin(), packages.end()), packages.end());
    return packages;
}

std::vector<std::string> parse_simulation(std::string_view output) {
    static const std::regex pattern(R"(Inst (\S+) (?:\[\S+\] )?\((\S+) .*\[(\S+)\]\).*)");
    std::vector<std::string> packages;
    std::istringstream lines{std::string(output)};
    for (std::string line; std::getline(lines, line);) {
        if (std::smatch match; std::regex_match(line, match, pattern)) {
            packages.push_back(fmt::format("{} {} {}", match[1].str(), match[2].str(), match[3].str()));
        }
    }
    std::ranges::sort(packages);
    return packages;
}

std::vector<std::string> plan_packages(const ImageRequest& request) {
    if (!request.suite.empty() || !request.debs.empty()) {
        return {};
    }
    static_cast<void>(apt_sources());
    std::vector<std::string> command = {"apt-get", "--simulate", "--no-install-recommends"};
    for (const char* const option : {"Dir::State::status=/dev/null", "Dir::Etc::preferences=/dev/null",
                                     "Dir::Etc::preferencesparts=/dev/null", "APT::Get::Show-User-Simulation-Note=0"}) {
        command.insert(command.end(), {"-o", option});
    }
    command.insert(command.end(), {"install", "?essential", "?priority(required)", "apt"});
    const auto named = named_packages(request);
    command.insert(command.end(), named.begin(), named.end());
    const Finished apt = run_to_end({.command = command, .environment = {"LC_ALL=C"}});
    if (apt.exit_status != 0) {
        refuse(apt);
    }
    return parse_simulation(apt.output);
}

std::string plan_key(const ImageRequest& request) {
    return key_of(fmt::format("plan\nsuite {}\ndebs {}\n{}\n{}{}", request.suite, request.debs.empty() ? "no" : "yes",
                              fmt::join(named_packages(request), " "), state_of("/etc/apt"),
                              state_of("/var/lib/apt/lists")));
}

std::vector<std::string> bootstrap_command(const ImageRequest& request, const fs::path& tar) {
    std::vector<std::string> command = {"mmdebstrap", "--mode=root", "--variant=minbase", "--format=tar"};
    command.push_back(fmt::format("--include={}", fmt::join(named_packages(request), ",")));
    command.insert(command.end(), {request.suite, tar});
    if (!request.mirror.empty()) {
        command.push_back(request.mirror);
    } else if (request.suite.empty()) {
        const auto sources = apt_sources();
        command.insert(command.end(), sources.begin(), sources.end());
    }
    if (!request.debs.empty()) {
        if (!request.suite.empty() && request.mirror.empty()) {
            command.emplace_back("http://deb.debian.org/debian");
        }
        command.push_back(fmt::format("deb [trusted=yes] copy:{} ./", fs::canonical(request.debs).string()));
    }
    return command;
}

}  // namespace understudy::tools
