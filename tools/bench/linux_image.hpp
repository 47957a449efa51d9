// Guests that boot an image, and programs of this host in them.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/temporary_directory.hpp"
#include "tools/bench/site.hpp"

namespace understudy::tools {

// The file of an image for a benchmark: the one that was named, or one that is built of packages, or taken from what
// was built before. To be had before there is a Lan, which has no packages.
class BenchImage {
  public:
    // Throws understudy::Error.
    BenchImage(std::filesystem::path named, const std::vector<std::string>& packages);
    [[nodiscard]] const std::filesystem::path& file() const { return file_; }

  private:
    TemporaryDirectory directory_{"understudy-bench"};
    std::filesystem::path file_;
};

// An image with a shell, base64 and gzip: any of Debian's.
class LinuxImage {
  public:
    LinuxImage(Site& site, std::filesystem::path image) : site_(site), image_(std::move(image)) {}

    // Words that describe a guest that runs `command`; `address`: of its tap on the Lan, or empty for no network.
    [[nodiscard]] Site::GuestWords guest(const std::vector<std::string>& command, const std::string& memory,
                                         const std::string& address = {}, const std::string& ready = {}) const;
    // The command that brings a program of this host along and runs it.
    [[nodiscard]] std::vector<std::string> program(const std::filesystem::path& file,
                                                   const std::vector<std::string>& arguments);
    // A command that brings it along as /tmp/program and then does what `script` says to /bin/sh.
    [[nodiscard]] std::vector<std::string> with_program(const std::filesystem::path& file, const std::string& script);
    // Runs a command in a guest of its own, to its end; the lines of its console.
    [[nodiscard]] std::vector<std::string> run(const std::vector<std::string>& command,
                                               std::chrono::milliseconds timeout);

    [[nodiscard]] const std::filesystem::path& file() const { return image_; }

  private:
    Site& site_;
    std::filesystem::path image_;
    std::map<std::filesystem::path, std::vector<std::string>> packed_;  // programs, compressed, as words
};

}  // namespace understudy::tools
