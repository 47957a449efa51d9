#include "common/temporary_directory.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <system_error>

#include "common/error.hpp"

namespace understudy {

TemporaryDirectory::TemporaryDirectory(std::string_view prefix) {
    std::error_code ignored;
    std::string name = (std::filesystem::temp_directory_path(ignored) / fmt::format("{}-XXXXXX", prefix)).string();
    if (::mkdtemp(name.data()) == nullptr) {
        throw Error::from_errno("cannot make the directory " + name, errno);
    }
    path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
    if (!kept_) {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
}

}  // namespace understudy
