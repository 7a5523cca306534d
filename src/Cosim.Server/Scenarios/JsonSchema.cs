// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Text;
using System.Text.Json;
using Google.Protobuf.Reflection;
using Google.Protobuf.WellKnownTypes;

namespace Cosim.Server.Scenarios;

/// <summary>Holds a JSON text against a message type, so that what does not fit is reported with its place.</summary>
internal ref struct JsonSchema
{
    private readonly ReadOnlySpan<byte> _json;
    private readonly string _name;
    private Utf8JsonReader _reader;

    private JsonSchema(ReadOnlySpan<byte> json, string name)
    {
        _json = json;
        _name = name;
        _reader = new Utf8JsonReader(json);
    }

    /// <summary>Checks keys, kinds of values, ranges of integers, names of enumeration values, and oneofs.</summary>
    /// <exception cref="ScenarioException">The first fault.</exception>
    internal static void Check(ReadOnlySpan<byte> json, MessageDescriptor type, string name)
    {
        JsonSchema schema = new(json, name);
        try
        {
            schema.Next();
            schema.CheckMessage(type, string.Empty);
            // What stands after the end of the object is an error of the reader's own.
            schema.Next();
        }
        catch (JsonException e)
        {
            throw new ScenarioException(
                $"{name}, line {e.LineNumber + 1}, column {e.BytePositionInLine + 1}: this is not JSON: {Reason(e)}", e);
        }
    }

    // The text of a JsonException ends in the place, which is told already.
    private static string Reason(JsonException e) => e.Message.Split(" LineNumber:")[0];

    private static string Join(string path, string key) => path.Length == 0 ? key : $"{path}.{key}";

    private static string Describe(string path) => path.Length == 0 ? "the scenario" : $"\"{path}\"";

    private void Next() => _reader.Read();

    private void CheckMessage(MessageDescriptor type, string path)
    {
        Expect(JsonTokenType.StartObject, path, "an object");
        HashSet<string> seen = [];
        Dictionary<OneofDescriptor, string> chosen = [];
        for (Next(); _reader.TokenType != JsonTokenType.EndObject; Next())
        {
            string key = Text();
            FieldDescriptor field = Find(type, key)
                ?? throw Fault($"unknown key \"{key}\" in {Describe(path)}; the keys there are {string.Join(", ", type.Fields.InDeclarationOrder().Select(f => f.JsonName))}");
            if (!seen.Add(field.JsonName))
            {
                throw Fault($"\"{Join(path, key)}\" stands there twice");
            }

            if (field.RealContainingOneof is { } oneof && !chosen.TryAdd(oneof, key))
            {
                throw Fault($"\"{chosen[oneof]}\" and \"{key}\" in {Describe(path)} exclude each other");
            }

            Next();
            CheckField(field, Join(path, key));
        }
    }

    private static FieldDescriptor? Find(MessageDescriptor type, string key)
    {
        foreach (FieldDescriptor field in type.Fields.InDeclarationOrder())
        {
            if (field.JsonName == key || field.Name == key)
            {
                return field;
            }
        }

        return null;
    }

    private void CheckField(FieldDescriptor field, string path)
    {
        if (_reader.TokenType == JsonTokenType.Null)
        {
            return;
        }

        if (field.IsRepeated)
        {
            Expect(JsonTokenType.StartArray, path, "an array");
            int index = 0;
            for (Next(); _reader.TokenType != JsonTokenType.EndArray; Next())
            {
                CheckValue(field, $"{path}[{index++}]");
            }
        }
        else
        {
            CheckValue(field, path);
        }
    }

    private void CheckValue(FieldDescriptor field, string path)
    {
        switch (field.FieldType)
        {
            case FieldType.Message when field.MessageType.FullName == Duration.Descriptor.FullName:
                Expect(JsonTokenType.String, path, "a time such as \"30s\"");
                string text = Text();
                if (!text.EndsWith('s') || !decimal.TryParse(text.AsSpan(0, text.Length - 1), out _))
                {
                    throw Fault($"\"{path}\" is \"{text}\"; expected a time such as \"30s\"");
                }

                break;
            case FieldType.Message:
                CheckMessage(field.MessageType, path);
                break;
            case FieldType.String:
                Expect(JsonTokenType.String, path, "a string");
                if (Text().Contains('\0', StringComparison.Ordinal))
                {
                    throw Fault($"\"{path}\" holds a NUL, which no path and no name may hold");
                }

                break;
            case FieldType.Bool:
                if (_reader.TokenType is not (JsonTokenType.True or JsonTokenType.False))
                {
                    throw Fault($"\"{path}\" is {Found()}; expected true or false");
                }

                break;
            case FieldType.Enum:
                CheckEnum(field.EnumType, path);
                break;
            case FieldType.UInt32:
                CheckInteger(path, uint.MaxValue);
                break;
            case FieldType.UInt64:
                CheckInteger(path, ulong.MaxValue);
                break;
            default:
                throw new InvalidOperationException($"{field.FullName} has the type {field.FieldType}, which scenarios do not use.");
        }
    }

    private void CheckEnum(EnumDescriptor type, string path)
    {
        Expect(JsonTokenType.String, path, "a string");
        string text = Text();
        if (type.FindValueByName(text) is null)
        {
            throw Fault($"\"{path}\" is \"{text}\"; expected one of {string.Join(", ", type.Values.Where(v => v.Number != 0).Select(v => v.Name))}");
        }
    }

    private void CheckInteger(string path, ulong most)
    {
        // The JSON form of a message has integers of 64 bits as strings; whoever writes one by hand writes a number.
        ulong value = 0;
        bool isInteger = _reader.TokenType switch
        {
            JsonTokenType.Number => _reader.TryGetUInt64(out value),
            JsonTokenType.String => _reader.ValueSpan is [>= (byte)'0' and <= (byte)'9', ..]
                && Utf8Parser.TryParse(_reader.ValueSpan, out value, out int used) && used == _reader.ValueSpan.Length,
            _ => false,
        };
        if (!isInteger || value > most)
        {
            throw Fault($"\"{path}\" is {Found()}; expected a whole number from 0 to {most}");
        }
    }

    private void Expect(JsonTokenType token, string path, string expected)
    {
        if (_reader.TokenType != token)
        {
            throw Fault($"{Describe(path)} is {Found()}; expected {expected}");
        }
    }

    private string Found() => _reader.TokenType switch
    {
        JsonTokenType.StartObject => "an object",
        JsonTokenType.StartArray => "an array",
        JsonTokenType.String => $"\"{Text()}\"",
        _ => System.Text.Encoding.UTF8.GetString(_reader.ValueSpan),
    };

    private string Text()
    {
        try
        {
            return _reader.GetString()!;
        }
        catch (InvalidOperationException)
        {
            // Thrown for bytes that are no UTF-8, and for half a surrogate pair.
            throw Fault("a string is not valid Unicode text");
        }
    }

    private ScenarioException Fault(string what)
    {
        ReadOnlySpan<byte> before = _json[..(int)_reader.TokenStartIndex];
        int line = before.Count((byte)'\n') + 1;
        int column = before.Length - (before.LastIndexOf((byte)'\n') + 1) + 1;
        return new ScenarioException($"{_name}, line {line}, column {column}: {what}.");
    }
}
