#include "tools/command/report_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "common/error.hpp"

namespace understudy::tools {

ReportFile::ReportFile(std::string name) : name_(std::move(name)) {
    if (name_.empty()) {
        return;
    }
    std::error_code ignored;
    const auto status = std::filesystem::status(name_, ignored);
    if (!std::filesystem::is_other(status)) {
        pending_.emplace(name_);
        return;
    }
    stream_.reset(::open(name_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
    if (!stream_) {
        throw Error::from_errno("cannot write the report " + name_, errno);
    }
}

void ReportFile::write(std::string_view content) {
    if (pending_) {
        pending_->write(content);
        pending_->commit();
    }
    while (stream_ && !content.empty()) {
        const ssize_t count = ::write(stream_.get(), content.data(), content.size());
        if (count < 0 && errno != EINTR) {
            throw Error::from_errno("cannot write the report " + name_, errno);
        }
        content.remove_prefix(count < 0 ? 0 : static_cast<std::size_t>(count));
    }
}

}  // namespace understudy::tools
