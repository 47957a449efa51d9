// The few things that the arbiter asks of a file system. They are an interface so that the simulation can put a disk in
// its place that loses what was not synced, tears writes in pieces, and fails at any call.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::arbiter {

// Every method of both classes throws understudy::Error with the file's name on failure. After a failed sync() nobody
// knows what of the file is on the disk, so the server stops and never tries it again. Not thread-safe, but files of
// one directory may be used on several threads.
class File {
  public:
    virtual ~File() = default;
    virtual void write(std::uint64_t offset, std::string_view bytes) = 0;
    virtual void sync() = 0;  // makes the data durable, and the size with it
    virtual void truncate(std::uint64_t size) = 0;
};

// One flat directory, owned by one server.
class Directory {
  public:
    virtual ~Directory() = default;
    [[nodiscard]] virtual std::vector<std::string> list() = 0;  // sorted
    [[nodiscard]] virtual std::string read(const std::string& name) = 0;
    [[nodiscard]] virtual std::unique_ptr<File> open(const std::string& name) = 0;  // created if it is not there
    virtual void rename(const std::string& from, const std::string& to) = 0;        // replaces `to`
    virtual void remove(const std::string& name) = 0;
    virtual void sync() = 0;  // makes creations, renames and removals durable
    [[nodiscard]] virtual std::string path(const std::string& name) const = 0;  // for messages
};

// A directory on disk, created if it is not there, and locked until the object is destroyed. Throws understudy::Error,
// also when somebody else holds the lock.
[[nodiscard]] std::unique_ptr<Directory> open_directory(const std::string& path);

}  // namespace understudy::arbiter
