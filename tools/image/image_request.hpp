// What somebody wants an image of.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::tools {

// A file or a directory of this host that the image gets as well; its owner there is root.
struct Addition {
    std::filesystem::path host;
    std::string guest;  // absolute, without "." and ".."

    bool operator==(const Addition&) const = default;
};

// Either packages or a tar.
struct ImageRequest {
    std::vector<std::string> packages{};  // Debian's names, "name=version" too
    std::string suite{};                  // the packages' release; empty: what this host's own sources say
    std::string mirror{};                 // where the suite is; empty: Debian's own servers
    std::filesystem::path debs{};         // packages of one's own, with their list (dpkg-scanpackages); empty: none
    std::filesystem::path tar{};          // a root file system, compressed or not; empty: packages
    std::vector<Addition> additions{};
    bool systemd = false;  // systemd is the first program, and root is logged in on the console
};

// "HOST:GUEST"; a GUEST that ends with a slash gets HOST's last name behind it. Throws understudy::Error for anything
// else.
[[nodiscard]] Addition parse_addition(std::string_view text);

// Throws understudy::Error where the request contradicts itself, names no package that could be one, or a file that is
// not there.
void check(const ImageRequest& request);

}  // namespace understudy::tools
