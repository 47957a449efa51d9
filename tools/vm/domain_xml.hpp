// A VM's description as a libvirt domain: the format that virsh, virt-install and the tools around them write.
// libvirt itself validates the file (through its test:///default driver: no daemon, no connection). What is then
// honoured, what is harmless and what is refused stands in one table in domain_xml.cpp; docs/operating.md explains it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "tools/vm/vm_description.hpp"

namespace understudy::tools {

// Reads and maps the file; does not call complete(). `network`, when not empty, is the endpoint to use instead of the
// one that <interface> gives; <interface type='user'> gives none and needs it. Throws understudy::Error with the file,
// the line and the element for whatever cannot be honoured.
[[nodiscard]] VmDescription read_domain_file(const std::filesystem::path& file, std::string_view network);

// The same from the file's text; `file` is only named in errors.
[[nodiscard]] VmDescription read_domain(std::string_view xml, const std::string& file, std::string_view network);

}  // namespace understudy::tools
