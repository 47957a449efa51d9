// An image: a guest's root as a read-only file system (erofs), the same file on every host that runs the guest.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "common/file_digest.hpp"
#include "tools/image/image_request.hpp"
#include "tools/image/step.hpp"

namespace understudy::tools {

struct BuildOptions {
    bool use_cache = true;  // take what was built before
    int stop = -1;          // readable when the user wants an end; negative: none
    LineHandler on_line{};  // what the commands of a build say; "I: ..." is progress
};

struct BuiltImage {
    FileDigest digest;
    std::size_t packages = 0;  // how many are installed, where that is known
    bool from_cache = false;
};

// Writes the image to `output`, whole or not at all. As root it is built at once; another user's build runs in a user
// namespace, in which this program is executed again (build_image_in()). Throws Interrupted, or understudy::Error that
// says what to do.
[[nodiscard]] BuiltImage build_image(const ImageRequest& request, const std::filesystem::path& output,
                                     const BuildOptions& options);

// The work itself: leaves the image at image_in(directory). For root, real or of a user namespace.
void build_image_in(const std::filesystem::path& directory, const ImageRequest& request, const BuildOptions& options);
[[nodiscard]] std::filesystem::path image_in(const std::filesystem::path& directory);

// From everything that decides what is in the image, as far as it is known without building it. `plan`: from
// plan_packages(). Reads the tar and the additions. Throws understudy::Error.
[[nodiscard]] std::string content_key(const ImageRequest& request, const std::vector<std::string>& plan);

// The words after `understudy image` that make the same request.
[[nodiscard]] std::vector<std::string> arguments_for(const ImageRequest& request);

}  // namespace understudy::tools
