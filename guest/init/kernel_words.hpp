// What the kernel's command line has for init: Linux hands its first program the words that it does not know itself,
// and then those behind "--", but none from a second "--" on. A command has all of them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace understudy::init {

struct KernelWords {
    std::string program = "/sbin/init";    // "init=" names another
    std::vector<std::string> for_program;  // the words that the kernel did not know: "single"
    std::vector<std::string> command;      // the words behind "--": a command with its arguments
};

// `arguments`: init's own, from the first on, as the kernel took them apart. `command_line`: /proc/cmdline.
[[nodiscard]] KernelWords sort_kernel_words(std::vector<std::string> arguments, std::string_view command_line);

}  // namespace understudy::init
