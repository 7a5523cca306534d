// SPDX-License-Identifier: Apache-2.0
using System.Reflection;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Grpc.Reflection.V1;
using Microsoft.AspNetCore.Routing;

namespace Grpc.AspNetCore.Server.Reflection.Internal;

/// <summary>The protocol files of all mapped services, and the answers to questions about them.</summary>
internal sealed class ServiceDescriptors
{
    private readonly Lazy<Contents> _contents;

    public ServiceDescriptors(EndpointDataSource endPoints) => _contents = new Lazy<Contents>(() => new Contents(endPoints));

    internal ServerReflectionResponse Answer(ServerReflectionRequest request)
    {
        ServerReflectionResponse response = new() { ValidHost = request.Host, OriginalRequest = request };
        Contents contents = _contents.Value;
        switch (request.MessageRequestCase)
        {
            case ServerReflectionRequest.MessageRequestOneofCase.ListServices:
                response.ListServicesResponse = new ListServiceResponse
                {
                    Service = { contents.ServiceNames.Select(n => new ServiceResponse { Name = n }) },
                };
                break;
            case ServerReflectionRequest.MessageRequestOneofCase.FileByFilename:
                Describe(response, contents.Files.GetValueOrDefault(request.FileByFilename), $"There is no file \"{request.FileByFilename}\".");
                break;
            case ServerReflectionRequest.MessageRequestOneofCase.FileContainingSymbol:
                Describe(response, contents.FindSymbol(request.FileContainingSymbol), $"There is no symbol \"{request.FileContainingSymbol}\".");
                break;
            case ServerReflectionRequest.MessageRequestOneofCase.FileContainingExtension:
                ExtensionRequest asked = request.FileContainingExtension;
                Describe(
                    response,
                    contents.Extensions(asked.ContainingType).FirstOrDefault(e => e.FieldNumber == asked.ExtensionNumber)?.File,
                    $"There is no extension {asked.ExtensionNumber} of \"{asked.ContainingType}\".");
                break;
            case ServerReflectionRequest.MessageRequestOneofCase.AllExtensionNumbersOfType:
                AnswerExtensionNumbers(response, contents, request.AllExtensionNumbersOfType);
                break;
            default:
                response.ErrorResponse = Error(StatusCode.InvalidArgument, "The request asks for nothing.");
                break;
        }

        return response;
    }

    private static void AnswerExtensionNumbers(ServerReflectionResponse response, Contents contents, string type)
    {
        if (contents.FindSymbol(type) is null)
        {
            response.ErrorResponse = Error(StatusCode.NotFound, $"There is no message \"{type}\".");
            return;
        }

        response.AllExtensionNumbersResponse = new ExtensionNumberResponse
        {
            BaseTypeName = type,
            ExtensionNumber = { contents.Extensions(type).Select(e => e.FieldNumber).Distinct().Order() },
        };
    }

    private static void Describe(ServerReflectionResponse response, FileDescriptor? file, string otherwise)
    {
        if (file is null)
        {
            response.ErrorResponse = Error(StatusCode.NotFound, otherwise);
            return;
        }

        Dictionary<string, FileDescriptor> closure = [];
        Contents.AddWithDependencies(closure, file);
        response.FileDescriptorResponse = new FileDescriptorResponse { FileDescriptorProto = { closure.Values.Select(f => f.SerializedData) } };
    }

    private static ErrorResponse Error(StatusCode code, string message) => new() { ErrorCode = (int)code, ErrorMessage = message };

    private sealed class Contents
    {
        private readonly Dictionary<string, FileDescriptor> _symbols = [];

        internal Contents(EndpointDataSource endPoints)
        {
            foreach (Type type in endPoints.Endpoints.Select(e => e.Metadata.GetMetadata<GrpcMethodMetadata>()?.ServiceType).OfType<Type>().Distinct())
            {
                if (FindDescriptor(type) is { } service)
                {
                    ServiceNames.Add(service.FullName);
                    AddWithDependencies(Files, service.File);
                }
            }

            foreach (FileDescriptor file in Files.Values)
            {
                AddSymbols(file);
            }
        }

        internal SortedSet<string> ServiceNames { get; } = new(StringComparer.Ordinal);

        internal Dictionary<string, FileDescriptor> Files { get; } = [];

        internal FileDescriptor? FindSymbol(string name) => _symbols.GetValueOrDefault(name);

        internal IEnumerable<FieldDescriptor> Extensions(string type) => Files.Values
            .SelectMany(f => f.Extensions.UnorderedExtensions)
            .Where(e => e.ExtendeeType.FullName == type);

        internal static void AddWithDependencies(Dictionary<string, FileDescriptor> files, FileDescriptor file)
        {
            if (files.TryAdd(file.Name, file))
            {
                foreach (FileDescriptor dependency in file.Dependencies)
                {
                    AddWithDependencies(files, dependency);
                }
            }
        }

        private static ServiceDescriptor? FindDescriptor(Type serviceType)
        {
            for (Type? type = serviceType; type is not null; type = type.BaseType)
            {
                if (type.GetCustomAttribute<BindServiceMethodAttribute>(inherit: false) is { } bind)
                {
                    return bind.BindType.GetProperty("Descriptor", BindingFlags.Public | BindingFlags.Static)?.GetValue(null) as ServiceDescriptor;
                }
            }

            return null;
        }

        private void AddSymbols(FileDescriptor file)
        {
            foreach (ServiceDescriptor service in file.Services)
            {
                Add(service);
                foreach (MethodDescriptor method in service.Methods)
                {
                    Add(method);
                }
            }

            foreach (FieldDescriptor extension in file.Extensions.UnorderedExtensions)
            {
                Add(extension);
            }

            AddEnums(file.EnumTypes);
            foreach (MessageDescriptor message in file.MessageTypes)
            {
                AddMessage(message);
            }
        }

        private void AddMessage(MessageDescriptor message)
        {
            Add(message);
            foreach (FieldDescriptor field in message.Fields.InDeclarationOrder())
            {
                Add(field);
            }

            AddEnums(message.EnumTypes);
            foreach (MessageDescriptor nested in message.NestedTypes)
            {
                AddMessage(nested);
            }
        }

        private void AddEnums(IEnumerable<EnumDescriptor> enums)
        {
            foreach (EnumDescriptor type in enums)
            {
                Add(type);
            }
        }

        private void Add(IDescriptor symbol) => _symbols.TryAdd(symbol.FullName, symbol.File);
    }
}
