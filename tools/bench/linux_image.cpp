#include "tools/bench/linux_image.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "common/error.hpp"
#include "common/tell.hpp"
#include "tools/bench/rows.hpp"
#include "tools/demo/lan.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;

constexpr auto kImageTime = 30min;  // packages may come by a slow network

// The file in words that a command line has room for.
std::vector<std::string> packed(const std::filesystem::path& file) {
    constexpr std::size_t kLongestWord = 100'000;
    const auto done =
        run_to_end({"/bin/sh", "-c", fmt::format("gzip -9 -c {} | base64 -w 0", shell_word(file.string()))});
    if (done.exit_status != 0 || done.output.empty()) {
        throw Error::format("{} cannot be packed: {}", file.string(), done.errors);
    }
    std::vector<std::string> words;
    for (std::size_t at = 0; at < done.output.size(); at += kLongestWord) {
        words.push_back(done.output.substr(at, kLongestWord));
    }
    return words;
}

}  // namespace

BenchImage::BenchImage(std::filesystem::path named, const std::vector<std::string>& packages)
    : file_(std::move(named)) {
    if (!file_.empty()) {
        return;
    }
    file_ = directory_.path() / "guest.img";
    std::vector<std::string> words = {std::filesystem::read_symlink("/proc/self/exe").string(), "image", "--output",
                                      file_.string()};
    for (const std::string& package : packages) {
        words.insert(words.end(), {"--package", package});
    }
    tell("an image of {}: minutes the first time, then it is kept\n", fmt::join(packages, ", "));
    const auto built = run_to_end(ProcessConfig{.command = words}, kImageTime);
    if (built.exit_status != 0) {
        throw Error("no image: " + built.errors);
    }
}

Site::GuestWords LinuxImage::guest(const std::vector<std::string>& command, const std::string& memory,
                                   const std::string& address, const std::string& ready) const {
    Site::GuestWords words;
    words.machine = {"--image", image_.string(), "--memory", memory};
    words.backup_options = {"--image", image_.string()};
    words.arguments = command;
    words.ready = ready;
    if (!address.empty()) {
        words.machine.insert(words.machine.end(), {"--address", address + "/24"});
        words.networks = {fmt::format("tap:one,bridge={}", Lan::kBridge),
                          fmt::format("tap:other,bridge={}", Lan::kBridge)};
    }
    return words;
}

std::vector<std::string> LinuxImage::program(const std::filesystem::path& file,
                                             const std::vector<std::string>& arguments) {
    std::string script = "exec /tmp/program";
    for (const std::string& argument : arguments) {
        script += " " + shell_word(argument);
    }
    return with_program(file, script);
}

std::vector<std::string> LinuxImage::with_program(const std::filesystem::path& file, const std::string& script) {
    if (!packed_.contains(file)) {
        packed_[file] = packed(file);
    }
    std::vector<std::string> words = {
        "sh", "-c",
        "printf %s \"$@\" | base64 -d | gzip -d > /tmp/program && chmod +x /tmp/program || exit 1\n" + script, "sh"};
    std::ranges::copy(packed_[file], std::back_inserter(words));
    return words;
}

std::vector<std::string> LinuxImage::run(const std::vector<std::string>& command, std::chrono::milliseconds timeout) {
    std::vector<std::string> words = {
        site_.executable().string(), "run", "--image", image_.string(), "--memory", "256M", "--",
    };
    std::ranges::copy(command, std::back_inserter(words));
    return site_.run(words, timeout);
}

}  // namespace understudy::tools
