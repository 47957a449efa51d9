// What `understudy run` and `understudy primary` have in common: the options that describe a VM.
#pragma once

#include <string>
#include <vector>

#include "tools/vm/vm_description.hpp"

namespace CLI {
class App;
}

namespace understudy::tools {

// Keep it alive until the options are parsed and description() was called: the App refers to its members.
class VmOptions {
  public:
    explicit VmOptions(CLI::App& app);
    VmOptions(const VmOptions&) = delete;
    VmOptions& operator=(const VmOptions&) = delete;

    // The program's arguments, to be filled with the words after "--": for Command::program_arguments.
    [[nodiscard]] std::vector<std::string>& arguments() { return arguments_; }

    // The description that the parsed options give. Throws understudy::Error: malformed or missing values, a domain
    // that cannot be honoured. Whether the program can be run is for the machine's loader to say.
    [[nodiscard]] VmDescription description() const;

  private:
    [[nodiscard]] std::string default_name() const;

    std::string domain_;  // file of a libvirt domain; excludes the options that it already answers
    std::string name_;
    std::string memory_;
    std::string image_;
    std::string initrd_;
    std::string command_line_;
    std::string program_;
    std::vector<std::string> arguments_;
    std::vector<std::string> environment_;
    std::string root_archive_;
    std::string network_;
    std::string address_;
    std::string gateway_;
    std::vector<std::string> nameservers_;
    std::string mac_;
    std::string kernel_;
    bool restarts_on_reboot_ = false;
    bool restarts_on_crash_ = false;
};

}  // namespace understudy::tools
